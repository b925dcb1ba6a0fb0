package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// ErrUnknown says that the slots of a group's members could not be learnt.
var ErrUnknown = errors.New("the slots of the group's members are unknown")

// anyCookie is INET_DIAG_NOCOOKIE, twice.
const anyCookie = 1<<64 - 1

// Slots returns the cookies of a group's members by slot. Nothing is sent, and no
// member is touched. The caller has the claim; the group's program may be another
// one afterwards.
//
// sock_diag's look-up of one socket goes through the kernel's own choice for a
// packet from a client to the address, and returns the member that it comes to. It
// has no packet, so it passes over the group's program (reuseport_select_sock), and
// goes by the hash. What the hash is nobody tells. But other sockets, which have the
// same hash and are in a group of their own, are there to compare with: twins, that
// are opened here, so that their order is known. The client that finds twin 2
// finds the member in slot 2.
//
// It is right or fails. Each slot is found by several clients, all of which have to
// find one member, as often as makes an accident less likely than 2^-32; and the
// members found are those that there are, each in one slot. Those fail of which
// some have SO_INCOMING_CPU, which comes before the hash.
//
// A connected UDP socket that still has a slot is passed over by the kernel: the
// next member answers for it. Its slot has cookie 0. If as many sockets are connected
// as there are slots, the slots are not known (see bySlot).
func (s *Socket) Slots(ctx context.Context, diag *sockdiag.Conn, members Members) ([]uint64, error) {
	if len(members.All) == 1 && members.Connected == 0 {
		return slices.Clone(members.All), nil
	}
	err := ErrUnknown
	for _, w := range s.ways() {
		slots, failed := w.slots(ctx, diag, members)
		if errors.Is(failed, errInconsistent) && w.protocol == unix.IPPROTO_TCP && w.family == unix.AF_INET6 {
			slots, failed = s.slotsByOneMore(ctx, diag, members, w)
		}
		if failed != nil && s.memory != nil {
			if remembered, err := s.memory.slots(ctx, diag, members); err == nil {
				slots, failed = remembered, nil
			}
		}
		if failed == nil {
			return slots, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		err = fmt.Errorf("%w: %w", err, failed)
	}
	return nil, err
}

// A way to learn the slots of a group by twins, and the client that asks.
type way struct {
	protocol, family uint8
	local, twin      netip.AddrPort // what is asked for
	bind             netip.AddrPort // twins are bound to it
	device, ghost    uint32
	uid              uint32
	client           netip.Addr
}

// ways returns what can be tried.
//
// IPv4: twins have the same address, and a device that does not exist.
//
// IPv6: such sockets would stand behind the members, which are found first. But the
// hash takes only the last 32 bits of the address (inet6_ehashfn, udp6_ehashfn). So
// twins have one that nobody is at, of the prefix that is there to be discarded (RFC
// 6666), with the same last bits. Newer kernels than 6.18 take all of it for TCP
// (see slotsByOneMore). A socket that takes IPv4 as well can be asked by that.
func (s *Socket) ways() []way {
	k := s.Key
	ghost := ghosts | rand.Uint32N(coming)
	v4 := way{
		protocol: k.protocol, family: unix.AF_INET, local: k.local, bind: k.local,
		device: k.device, ghost: ghost, uid: k.uid,
		client: netip.AddrFrom4([4]byte{192, 0, 2, 1}), // TEST-NET-1, RFC 5737
	}
	nobody := netip.AddrFrom4([4]byte{192, 0, 2, 2})
	if k.family == unix.AF_INET || k.dual() {
		if k.dual() {
			v4.bind = netip.AddrPortFrom(netip.IPv4Unspecified(), k.local.Port())
		}
		if k.local.Addr().IsUnspecified() {
			v4.local = netip.AddrPortFrom(nobody, k.local.Port())
		}
		v4.twin = v4.local
	}
	if k.family == unix.AF_INET {
		return []way{v4}
	}
	last := k.local.Addr().As16() // of :: the hash is that of ::, whatever was asked for
	discard := [16]byte{0: 1}
	binary.BigEndian.PutUint32(discard[8:], rand.Uint32())
	copy(discard[12:], last[12:])
	twin := netip.AddrPortFrom(netip.AddrFrom16(discard), k.local.Port())
	v6 := way{
		protocol: k.protocol, family: unix.AF_INET6, local: k.local, twin: twin, bind: twin,
		device: k.device, uid: k.uid,
		client: netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}), // RFC 3849
	}
	if k.local.Addr().IsUnspecified() {
		v6.local = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 2}), k.local.Port())
	}
	if k.dual() {
		return []way{v4, v6}
	}
	return []way{v6}
}

// slots opens as many twins as there are slots.
func (w *way) slots(ctx context.Context, diag *sockdiag.Conn, members Members) ([]uint64, error) {
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	twins := map[uint64]int{} // their slots by cookie
	return members.bySlot(func(n int) ([]uint64, error) {
		for len(twins) < n {
			fd, cookie, err := w.open()
			if err != nil {
				return nil, err
			}
			fds, twins[cookie] = append(fds, fd), len(twins)
		}
		// With so many tries the probability that a slot is not found often enough is
		// less than 2^-32.
		often := members.often(n)
		return compare(n, often, n*(64+8*often), func() (slot int, port uint16, err error) {
			port = uint16(1 + rand.IntN(math.MaxUint16))
			twin, err := w.ask(ctx, diag, w.twin, w.ghost, port)
			if err != nil {
				return 0, 0, err
			}
			slot, ok := twins[twin]
			if !ok {
				return 0, 0, errInconsistent
			}
			return slot, port, nil
		}, func(port uint16) (uint64, error) { return w.ask(ctx, diag, w.local, w.device, port) })
	})
}

// open returns a twin.
func (w *way) open() (fd int, cookie uint64, err error) {
	kind := unix.SOCK_STREAM
	if w.protocol == unix.IPPROTO_UDP {
		kind = unix.SOCK_DGRAM
	}
	options := []option{
		{unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1, "IPV6_FREEBIND"},
		{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, "IPV6_V6ONLY"},
	}
	if w.ghost != 0 {
		options = []option{{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(w.ghost), "SO_BINDTOIFINDEX"}}
	}
	return openSocket(int(w.family), kind, w.uid, w.bind, options, nil)
}

var errInconsistent = errors.New("the members do not answer as sockets without SO_INCOMING_CPU do")

// compare returns the cookies of members by slot, of n, each found often enough: client
// returns clients one by one, and the slot that each comes to, or -1; and member, who
// that is.
func compare(n, often, clients int, client func() (slot int, port uint16, err error), member func(port uint16) (uint64, error)) ([]uint64, error) {
	found, times, missing := make([]uint64, n), make([]int, n), n
	for range clients {
		slot, port, err := client()
		if err != nil {
			return nil, err
		}
		if slot < 0 || times[slot] == often {
			continue
		}
		member, err := member(port)
		if err != nil {
			return nil, err
		}
		if times[slot] > 0 && found[slot] != member {
			return nil, errInconsistent
		}
		found[slot] = member
		if times[slot]++; times[slot] == often {
			if missing--; missing == 0 {
				return found, nil
			}
		}
	}
	return nil, errInconsistent
}

// enough returns how often each of n slots has to be found: all but the first times
// it could be another one by accident, all together with less than 2^-32.
func enough(n int) int {
	return max(2, 1+int(math.Ceil(32/(float64(n)*math.Log2(float64(max(n, 2)))))))
}

// often is enough, also if there may be more slots than n, of connected sockets.
// Then the border between two members lies within one of n slots, where at least one
// client finds the other member of as many as there are slots.
func (m *Members) often(n int) int {
	if m.Connected == 0 {
		return enough(n)
	}
	return max(enough(n), 1+23*(len(m.All)+m.Connected)) // 2^-32 is e^-22.2
}

// bySlot returns the members by slot. It tries how many slots there are, for which
// find returns whom clients find.
//
// What members show in n slots, they would show in 2n as well, each second one of
// which had a connected socket.
func (m *Members) bySlot(find func(n int) ([]uint64, error)) (slots []uint64, err error) {
	most := len(m.All) + m.Connected
	for n := len(m.All); n <= most; n++ {
		var found []uint64
		if found, err = find(n); err == nil {
			slots, err = m.owners(found)
		}
		if err == nil && 2*n <= most {
			return nil, fmt.Errorf("%w, or %d connected sockets have slots between them", errInconsistent, m.Connected)
		}
		if err == nil || !errors.Is(err, errInconsistent) {
			return slots, err
		}
	}
	return nil, err
}

// ask returns the cookie of the socket that gets packets of the client's port.
func (w *way) ask(ctx context.Context, diag *sockdiag.Conn, local netip.AddrPort, device uint32, port uint16) (uint64, error) {
	s, err := diag.Lookup(ctx, sockdiag.Socket{
		Family: w.family, Protocol: w.protocol, Cookie: anyCookie,
		Local: local, Remote: netip.AddrPortFrom(w.client, port), Interface: device,
	})
	if sockdiag.Gone(err) {
		err = errInconsistent
	}
	return s.Cookie, err
}

// owners returns the members by slot, if found has all of them. In the slots before
// a member's own one it may answer for connected sockets.
func (m *Members) owners(found []uint64) ([]uint64, error) {
	slots, owned := make([]uint64, len(found)), map[uint64]bool{}
	for i, c := range found {
		if c == found[(i+1)%len(found)] && len(found) > 1 {
			continue
		}
		if _, ok := slices.BinarySearch(m.All, c); !ok || owned[c] {
			return nil, errInconsistent
		}
		slots[i] = c
		owned[c] = true
	}
	if len(owned) != len(m.All) {
		return nil, errInconsistent
	}
	return slots, nil
}
