package group

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// ErrNoProbe says that a slot could not be learnt by probes.
var ErrNoProbe = errors.New("probes do not show the listener's slot")

// Locate learns the slots of socks in a group of n, and by that proves that the
// kernel runs the group's program at all. The caller has the claim.
//
// A probe is a packet that no application sees. The kernel chooses a socket for
// it, by the program, which goes by the probe's port, and drops it then; where
// ours is the one that was chosen, the socket's count of drops tells
// (sk_drops_add), at which only the owner looks. So no process is disturbed,
// whichever slot a probe is sent to. Other packets go to all members meanwhile.
//
// To a TCP listener it is a SYN that bears a signature (TCP_MD5SIG), for which the
// listener has no key (tcp_v4_rcv: tcp_inbound_hash). So no connection begins. To
// a UDP socket it is an IPv6 datagram without a checksum, which is for sockets
// only that ask for such (__udp6_lib_rcv). Ours do, and have a filter that drops
// them. IPv4 has no such datagrams.
func Locate(ctx context.Context, socks []*Socket, self sockdiag.Member, n int) (slots []int, err error) {
	if n == 1 {
		return []int{0}, nil
	}
	for _, s := range socks {
		stop, err := s.hearProbes()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoProbe, err)
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	first := socks[0]
	p := prober{socks: socks, n: n, send: first.sendProbe,
		open: func(target netip.AddrPort) (int, uint16, error) { return first.openProbe(target, self.Interface) }}
	return p.learn(ctx, slices.DeleteFunc(targets(self), func(target netip.AddrPort) bool {
		return first.Protocol == unix.IPPROTO_UDP && target.Addr().Is4()
	}))
}

// hearProbes makes the socket tell by its drops what probes it gets, until stop.
func (s *Socket) hearProbes() (stop func() error, err error) {
	if s.Protocol == unix.IPPROTO_TCP {
		return func() error { return nil }, nil
	}
	return s.hearDatagrams()
}

// openProbe returns a client's socket for probes to target, and its port.
func (s *Socket) openProbe(target netip.AddrPort, device uint32) (fd int, port uint16, err error) {
	if s.Protocol == unix.IPPROTO_TCP {
		return openProbe(unix.SOCK_STREAM, target, device, func(fd int) error { return sign(fd, target) })
	}
	return openProbe(unix.SOCK_DGRAM, target, device, omitChecksum)
}

// sendProbe sends the probe of a client's socket.
func (s *Socket) sendProbe(fd int, target netip.AddrPort) error {
	if err := connectProbe(fd, target); err != nil || s.Protocol == unix.IPPROTO_TCP {
		return err
	}
	_, err := unix.Write(fd, []byte{0})
	return os.NewSyscallError("write", err)
}

func connectProbe(fd int, target netip.AddrPort) error {
	err := unix.Connect(fd, sockaddr(target))
	if err == unix.EINPROGRESS {
		return nil
	}
	return os.NewSyscallError("connect", err)
}

// A prober sends probes to the slots of a group of n in rounds, and learns those of
// socks by the rounds in which these drop something.
type prober struct {
	socks []*Socket
	n     int
	open  func(target netip.AddrPort) (fd int, port uint16, err error)
	send  func(fd int, target netip.AddrPort) error
}

type probe struct{ round, slot int }

// learn returns the slots by probes to one of targets.
func (p *prober) learn(ctx context.Context, targets []netip.AddrPort) (slots []int, err error) {
	if p.n > most {
		return nil, fmt.Errorf("%w: %d members", ErrNoProbe, p.n)
	}
	err = ErrNoProbe
	for _, settle := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		for _, target := range targets {
			slots, err = p.learnAt(ctx, target, settle)
			switch {
			case err == nil:
				return slots, nil
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			}
			err = fmt.Errorf("%w: %w", ErrNoProbe, err)
		}
	}
	return nil, err
}

// learnAt gives the probes of a round the time settle to arrive.
func (p *prober) learnAt(ctx context.Context, target netip.AddrPort, settle time.Duration) ([]int, error) {
	codes := codes(p.n)
	var probes []probe
	for round := range rounds {
		for slot, code := range codes {
			if code>>round&1 == 1 {
				probes = append(probes, probe{round, slot})
			}
		}
	}
	const inBatch = 32 // have a socket, and a place in the program, at the same time
	seen := make([]uint32, len(p.socks))
	for batch := range slices.Chunk(probes, inBatch) {
		if err := p.sendAll(ctx, batch, target, settle, seen); err != nil {
			return nil, err
		}
	}
	slots, ok := decode(codes, seen)
	if !ok {
		return nil, fmt.Errorf("at %v", target)
	}
	return slots, nil
}

// sendAll sends probes, and notes in seen the rounds in which sockets dropped
// something.
func (p *prober) sendAll(ctx context.Context, batch []probe, target netip.AddrPort, settle time.Duration, seen []uint32) error {
	steering := Steering{N: p.n}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, probe := range batch {
		fd, port, err := p.open(target)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
		steering.To = append(steering.To, PortSlot{Port: port, Slot: probe.slot})
	}
	if err := Attach(p.socks[0], steering.Program()); err != nil {
		return err
	}
	before, err := p.drops()
	if err != nil {
		return err
	}
	for i, probe := range batch {
		if err := p.send(fds[i], target); err != nil {
			return err
		}
		if i+1 < len(batch) && batch[i+1].round == probe.round {
			continue
		}
		if err := Sleep(ctx, settle); err != nil {
			return err
		}
		after, err := p.drops()
		if err != nil {
			return err
		}
		for j := range seen {
			if after[j] != before[j] {
				seen[j] |= 1 << probe.round
			}
		}
		before = after
	}
	return nil
}

func (p *prober) drops() ([]uint32, error) {
	drops := make([]uint32, len(p.socks))
	for i, s := range p.socks {
		var err error
		if drops[i], err = s.drops(); err != nil {
			return nil, err
		}
	}
	return drops, nil
}

// drops returns how many packets the socket dropped: SK_MEMINFO_DROPS. That is
// the ninth word of what SO_MEMINFO returns, and so is Lost of a TCPInfo, the
// one structure in x/sys that any option can be read into.
func (s *Socket) drops() (uint32, error) {
	var drops uint32
	err := control(s, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_SOCKET, unix.SO_MEMINFO)
		if err == nil {
			drops = info.Lost
		}
		return unsupported("getsockopt SO_MEMINFO", err)
	})
	return drops, err
}

// openProbe returns a client's socket that prepare has had, and its port.
func openProbe(kind int, target netip.AddrPort, device uint32, prepare func(fd int) error) (fd int, port uint16, err error) {
	family, any := unix.AF_INET, netip.IPv4Unspecified()
	if target.Addr().Is6() {
		family, any = unix.AF_INET6, netip.IPv6Unspecified()
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if device != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(device)); err != nil {
			return -1, 0, os.NewSyscallError("setsockopt SO_BINDTOIFINDEX", err)
		}
	}
	if err := prepare(fd); err != nil {
		return -1, 0, err
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(any, 0))); err != nil {
		return -1, 0, os.NewSyscallError("bind", err)
	}
	local, err := unix.Getsockname(fd)
	switch local := local.(type) {
	case *unix.SockaddrInet4:
		port = uint16(local.Port)
	case *unix.SockaddrInet6:
		port = uint16(local.Port)
	}
	return fd, port, os.NewSyscallError("getsockname", err)
}

// CanProbe reports whether the system has what Locate needs.
func (s *Socket) CanProbe() bool {
	target := netip.AddrPortFrom(netip.IPv6Loopback(), 1)
	if s.family == unix.AF_INET {
		target = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1)
	}
	if _, err := s.drops(); err != nil {
		return false
	}
	stop, err := s.hearProbes()
	if err != nil {
		return false
	}
	fd, _, err := s.openProbe(target, 0)
	if err == nil {
		if s.Protocol == unix.IPPROTO_UDP {
			err = unix.Connect(fd, sockaddr(target)) // sends nothing
		}
		unix.Close(fd)
	}
	return errors.Join(err, stop()) == nil
}
