package group

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"time"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// ErrNoProbe says that a slot could not be learnt by probes.
var ErrNoProbe = errors.New("probes do not show the listener's slot")

// Locate learns the slot of a socket in a group of n, and by that proves that the
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
// only that ask for such (__udp6_lib_rcv). Ours does, and has a filter that drops
// them. IPv4 has no such datagrams.
//
// Ours is the slot whose probes are followed by drops. Other drops, of a full queue
// say, do not follow them.
func (s *Socket) Locate(ctx context.Context, self sockdiag.Member, n int) (slot int, err error) {
	if n == 1 {
		return 0, nil
	}
	stop, err := s.hearProbes()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoProbe, err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	err = ErrNoProbe
	for _, settle := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		for _, target := range targets(self) {
			if s.Protocol == unix.IPPROTO_UDP && target.Addr().Is4() {
				continue
			}
			p := prober{s, target, self.Interface, n, settle}
			if slot, err = p.locate(ctx); err == nil || ctx.Err() != nil {
				return slot, err
			}
		}
	}
	return 0, err
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
func (p *prober) sendProbe(fd int) error {
	if err := connectProbe(fd, p.target); err != nil || p.Protocol == unix.IPPROTO_TCP {
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

type prober struct {
	*Socket
	target netip.AddrPort
	device uint32
	n      int
	settle time.Duration // what probes are given to arrive
}

// perSlot is how many probes each slot gets, and inBatch how many have a socket at
// the same time.
const perSlot, inBatch = 16, 32

func (p *prober) locate(ctx context.Context) (int, error) {
	// In a random order, so that nothing else drops in the same one.
	order := rand.Perm(p.n * perSlot)
	followed := make([]int, p.n) // probes of each slot that a drop followed
	for batch := range slices.Chunk(order, inBatch) {
		if err := p.send(ctx, batch, followed); err != nil {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, fmt.Errorf("%w: %w", ErrNoProbe, err)
		}
	}
	// One probe may be late and one or two other drops come between. If none
	// arrives, and every second is followed by another drop by chance, a slot
	// passes for ours with a probability of 1e-6.
	slot := slices.Index(followed, slices.Max(followed))
	for i, n := range followed {
		if i == slot && n < perSlot-1 || i != slot && n > 2 {
			return 0, fmt.Errorf("%w: at %v", ErrNoProbe, p.target)
		}
	}
	return slot, nil
}

// send sends probes to the slots of a batch, each number modulo n, one after the
// other, and counts those that a drop follows.
func (p *prober) send(ctx context.Context, batch, followed []int) error {
	steering := Steering{N: p.n}
	probes := make([]int, 0, len(batch))
	defer func() {
		for _, fd := range probes {
			unix.Close(fd)
		}
	}()
	for _, number := range batch {
		fd, port, err := p.openProbe(p.target, p.device)
		if err != nil {
			return err
		}
		probes = append(probes, fd)
		steering.To = append(steering.To, PortSlot{Port: port, Slot: number % p.n})
	}
	if err := Attach(p, steering.Program()); err != nil {
		return err
	}
	before, err := p.drops()
	if err != nil {
		return err
	}
	for i, fd := range probes {
		if err := p.sendProbe(fd); err != nil {
			return err
		}
		if err := Sleep(ctx, p.settle); err != nil {
			return err
		}
		after, err := p.drops()
		if err != nil {
			return err
		}
		if after != before {
			followed[batch[i]%p.n]++
		}
		before = after
	}
	return nil
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
