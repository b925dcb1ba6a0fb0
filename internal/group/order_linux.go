package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"time"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// Order learns the slots of socks, which are all members of a group, by probes as
// Locate does, and by that proves that the kernel runs the group's program. The
// caller has the claim.
//
// A probe of UDP is a datagram that the sockets drop: they have a filter for it
// meanwhile, and what a filter drops is counted (udp_queue_rcv_one_skb). With
// filters of their own their order cannot be learnt.
//
// In each round the slots get a probe whose number has a certain bit, and in the
// next one those whose number has not. So the drops of a socket spell its slot,
// and other drops spell nothing.
func Order(ctx context.Context, diag *sockdiag.Conn, socks []*Socket, self sockdiag.Member) (slots []int, err error) {
	n := len(socks)
	if n == 1 {
		return []int{0}, nil
	}
	const most = 1024 // of as many ports a program has room for
	if n > most {
		return nil, fmt.Errorf("%w: %d members", ErrNoProbe, n)
	}
	o := &order{socks: socks, device: self.Interface}
	var strangers []sockdiag.Socket
	if self.Protocol == unix.IPPROTO_UDP {
		if strangers, err = o.strangers(ctx, diag); err != nil {
			return nil, err
		}
		var unfilter func() error
		if unfilter, err = o.filter(); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, unfilter()) }()
	}
	err = ErrNoProbe
	for _, settle := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		for _, target := range targets(self) {
			if slices.ContainsFunc(strangers, func(s sockdiag.Socket) bool { return receivesAt(s, target) }) {
				continue
			}
			if slots, err = o.learn(ctx, target, settle); err == nil || ctx.Err() != nil {
				return slots, err
			}
		}
	}
	// ErrUnsupported because a kernel that ignores programs looks like this.
	return nil, fmt.Errorf("%w (%w)", err, errors.ErrUnsupported)
}

type order struct {
	socks  []*Socket
	device uint32
	magic  [16]byte // what a datagram contains that is a probe
}

// strangers returns the sockets of the port that are in other groups. They are
// not to get a datagram that is a probe.
func (o *order) strangers(ctx context.Context, diag *sockdiag.Conn) ([]sockdiag.Socket, error) {
	first := o.socks[0]
	all, err := diag.Sockets(ctx, sockdiag.Request{Protocol: first.Protocol, States: first.states(), LocalPort: first.port})
	return slices.DeleteFunc(all, func(s sockdiag.Socket) bool {
		return slices.ContainsFunc(o.socks, func(member *Socket) bool { return member.Cookie == s.Cookie })
	}), err
}

// receivesAt reports whether s could get a packet to target.
func receivesAt(s sockdiag.Socket, target netip.AddrPort) bool {
	addr := s.Local.Addr().WithZone("")
	return addr == target.Addr().WithZone("") || addr.IsUnspecified() && (s.Family == unix.AF_INET) == target.Addr().Is4()
}

func (o *order) learn(ctx context.Context, target netip.AddrPort, settle time.Duration) ([]int, error) {
	n := len(o.socks)
	slots := make([]int, n)
	for bit := range bits.Len(uint(n - 1)) {
		with, err := o.round(ctx, target, settle, func(slot int) bool { return slot>>bit&1 == 1 })
		if err != nil {
			return nil, err
		}
		without, err := o.round(ctx, target, settle, func(slot int) bool { return slot>>bit&1 == 0 })
		if err != nil {
			return nil, err
		}
		for i := range slots {
			if with[i] == without[i] {
				return nil, fmt.Errorf("%w: at %v", ErrNoProbe, target)
			}
			if with[i] {
				slots[i] |= 1 << bit
			}
		}
	}
	taken := make([]bool, n)
	for _, slot := range slots {
		if slot >= n || taken[slot] {
			return nil, fmt.Errorf("%w: at %v", ErrNoProbe, target)
		}
		taken[slot] = true
	}
	return slots, nil
}

// round sends a probe to each slot that is chosen, and reports which sockets
// dropped something.
func (o *order) round(ctx context.Context, target netip.AddrPort, settle time.Duration, chosen func(slot int) bool) ([]bool, error) {
	steering := Steering{N: len(o.socks)}
	var probes []int
	defer func() {
		for _, fd := range probes {
			unix.Close(fd)
		}
	}()
	for slot := range o.socks {
		if !chosen(slot) {
			continue
		}
		fd, port, err := o.openProbe(target)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoProbe, err)
		}
		probes = append(probes, fd)
		steering.To = append(steering.To, PortSlot{Port: port, Slot: slot})
	}
	if err := Attach(o.socks[0], steering.Program()); err != nil {
		return nil, err
	}
	before, err := o.drops()
	if err != nil {
		return nil, err
	}
	for _, fd := range probes {
		if err := o.sendProbe(fd, target); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoProbe, err)
		}
	}
	if err := Sleep(ctx, settle); err != nil {
		return nil, err
	}
	after, err := o.drops()
	if err != nil {
		return nil, err
	}
	dropped := make([]bool, len(o.socks))
	for i := range dropped {
		dropped[i] = after[i] != before[i]
	}
	return dropped, nil
}

func (o *order) drops() ([]uint32, error) {
	drops := make([]uint32, len(o.socks))
	for i, s := range o.socks {
		var err error
		if drops[i], err = s.drops(); err != nil {
			return nil, err
		}
	}
	return drops, nil
}

// openProbe returns a client's socket for a probe to target, and its port.
func (o *order) openProbe(target netip.AddrPort) (fd int, port uint16, err error) {
	if first := o.socks[0]; first.Protocol == unix.IPPROTO_TCP {
		return first.openProbe(target, o.device)
	}
	return openProbe(unix.SOCK_DGRAM, target, o.device, func(int) error { return nil })
}

func (o *order) sendProbe(fd int, target netip.AddrPort) error {
	if o.socks[0].Protocol == unix.IPPROTO_TCP {
		return connectProbe(fd, target)
	}
	return os.NewSyscallError("sendto", unix.Sendto(fd, o.magic[:], 0, sockaddr(target)))
}

// filter makes the sockets drop datagrams that are probes. What it returns takes
// that back.
func (o *order) filter() (unfilter func() error, err error) {
	const (
		opLength = 0x80 // ld len
		header   = 8    // of UDP, where the packet begins for a filter
	)
	program := []unix.SockFilter{
		{Code: opLength},
		// A load beyond the end would drop the packet.
		{Code: opJge, K: header + uint32(len(o.magic)), Jf: 9},
	}
	for i := range len(o.magic) / 4 {
		word := rand.Uint32()
		binary.BigEndian.PutUint32(o.magic[4*i:], word)
		program = append(program,
			unix.SockFilter{Code: opLoadWord, K: header + 4*uint32(i)},
			unix.SockFilter{Code: opJeq, K: word, Jf: uint8(7 - 2*i)})
	}
	program = append(program, unix.SockFilter{Code: opRet}, unix.SockFilter{Code: opRet, K: passAll})

	var filtered []*Socket
	unfilter = func() (err error) {
		for _, s := range filtered {
			err = errors.Join(err, s.detachFilter())
		}
		return err
	}
	for _, s := range o.socks {
		if err := s.attachFilter(program); err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoProbe, err), unfilter())
		}
		filtered = append(filtered, s)
	}
	return unfilter, nil
}
