package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"

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
func Order(ctx context.Context, diag *sockdiag.Conn, socks []*Socket, self sockdiag.Member) (slots []int, err error) {
	if self.Protocol == unix.IPPROTO_TCP {
		slots, err = Locate(ctx, socks, self, len(socks))
	} else {
		slots, err = orderUDP(ctx, diag, socks, self)
	}
	if errors.Is(err, ErrNoProbe) {
		// A kernel that ignores programs looks like this.
		err = fmt.Errorf("%w (%w)", err, errors.ErrUnsupported)
	}
	return slots, err
}

func orderUDP(ctx context.Context, diag *sockdiag.Conn, socks []*Socket, self sockdiag.Member) (slots []int, err error) {
	n := len(socks)
	if n == 1 {
		return []int{0}, nil
	}
	o := &order{socks: socks}
	strangers, err := o.strangers(ctx, diag)
	if err != nil {
		return nil, err
	}
	unfilter, err := o.filter()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unfilter()) }()
	p := prober{socks: socks, n: n,
		open: func(target netip.AddrPort) (int, uint16, error) {
			return openProbe(unix.SOCK_DGRAM, target, self.Interface, func(int) error { return nil })
		},
		send: func(fd int, target netip.AddrPort) error {
			return os.NewSyscallError("sendto", unix.Sendto(fd, o.magic[:], 0, sockaddr(target)))
		},
	}
	return p.learn(ctx, slices.DeleteFunc(targets(self), func(target netip.AddrPort) bool {
		return slices.ContainsFunc(strangers, func(s sockdiag.Socket) bool { return receivesAt(s, target) })
	}))
}

type order struct {
	socks []*Socket
	magic [16]byte // what a datagram contains that is a probe
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
