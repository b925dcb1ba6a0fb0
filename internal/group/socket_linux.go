package group

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A Socket is one of this process, listening on TCP or bound on UDP with
// SO_REUSEPORT.
type Socket struct {
	syscall.RawConn
	Protocol uint8 // unix.IPPROTO_TCP or unix.IPPROTO_UDP
	Cookie   uint64
	family   uint8
	port     uint16
	device   uint32 // that it is bound to, unless hidden
}

// protocolMPTCP is IPPROTO_MPTCP.
const protocolMPTCP = 262

// ErrMPTCP says that a socket is one of Multipath TCP, which the kernel neither
// steers nor shows.
var ErrMPTCP = fmt.Errorf("a Multipath TCP listener cannot be steered; open it with reuse.Port, or with SetMultipathTCP(false): %w",
	errors.ErrUnsupported)

// Open returns the socket of c.
func Open(c syscall.RawConn) (*Socket, error) {
	s := &Socket{RawConn: c}
	err := control(c, func(fd int) error {
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil {
			return unsupported("getsockopt SO_PROTOCOL", err)
		}
		switch protocol {
		case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
			s.Protocol = uint8(protocol)
		case protocolMPTCP:
			return ErrMPTCP
		default:
			return fmt.Errorf("protocol %d: %w", protocol, errors.ErrUnsupported)
		}
		shares, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
		if err != nil {
			return unsupported("getsockopt SO_REUSEPORT", err)
		}
		if shares == 0 {
			return fmt.Errorf("a socket without SO_REUSEPORT has nobody to share its port with; open it with reuse.Port: %w",
				errors.ErrUnsupported)
		}
		s.Cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
		if err == unix.EINVAL {
			err = unix.ENOPROTOOPT // of emulators that take every option for an int
		}
		if err != nil {
			return unsupported("getsockopt SO_COOKIE", err)
		}
		device, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX)
		if err != nil {
			return unsupported("getsockopt SO_BINDTOIFINDEX", err)
		}
		s.device = uint32(device)
		local, err := unix.Getsockname(fd)
		switch local := local.(type) {
		case *unix.SockaddrInet4:
			s.family, s.port = unix.AF_INET, uint16(local.Port)
		case *unix.SockaddrInet6:
			s.family, s.port = unix.AF_INET6, uint16(local.Port)
		default:
			return errors.Join(os.NewSyscallError("getsockname", err), errors.ErrUnsupported)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// states are those of the members of a group. A UDP socket that is connected
// gets what its peer sends only.
func (s *Socket) states() sockdiag.States {
	if s.Protocol == unix.IPPROTO_UDP {
		return sockdiag.Set(sockdiag.Close)
	}
	return sockdiag.Set(sockdiag.Listen)
}

// Members are those of a socket's group at one time.
type Members struct {
	Self  sockdiag.Member
	All   []uint64 // cookies, Self's too, in no order
	Marks []uint64 // of those that are marked, other than Self
}

// ErrElsewhere says that a socket is not among those of the network namespace
// that the calling thread is in.
var ErrElsewhere = errors.New("the socket is not in the calling thread's network namespace")

// Members asks the kernel who is in the group: sockets of the same family,
// address, port, device, IPV6_V6ONLY and user (inet_reuseport_add_sock).
func (s *Socket) Members(ctx context.Context, diag *sockdiag.Conn) (Members, error) {
	sockets, err := diag.Members(ctx, sockdiag.Request{
		Protocol: s.Protocol, Family: s.family, States: s.states(), LocalPort: s.port,
	})
	if err != nil {
		return Members{}, err
	}
	var m Members
	for _, other := range sockets {
		if other.Cookie == s.Cookie {
			m.Self = other
			m.Self.Interface &^= hidden
		}
	}
	if m.Self.Cookie == 0 {
		if err := s.Control(func(uintptr) {}); err != nil {
			return Members{}, err // closed
		}
		return Members{}, ErrElsewhere
	}
	for _, other := range sockets {
		if sameGroup(m.Self.Socket, other.Socket) {
			m.All = append(m.All, other.Cookie)
			if other.Mark && other.Cookie != s.Cookie {
				m.Marks = append(m.Marks, other.Cookie)
			}
		}
	}
	return m, nil
}

func sameGroup(a, b sockdiag.Socket) bool {
	return a.Family == b.Family && a.Local == b.Local && a.Interface&^hidden == b.Interface&^hidden && a.UID == b.UID &&
		(a.Family == unix.AF_INET || a.V6Only == b.V6Only || !a.V6OnlyKnown || !b.V6OnlyKnown)
}

// Queue returns the number of connections that wait to be accepted, and the
// bound that listen set: tcpi_unacked and tcpi_sacked of a listener
// (tcp_get_info).
func (s *Socket) Queue() (length, backlog uint32, err error) {
	err = control(s, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			length, backlog = info.Unacked, info.Sacked
		}
		return unsupported("getsockopt TCP_INFO", err)
	})
	return length, backlog, err
}

// Readable reports whether a datagram waits to be read.
func (s *Socket) Readable() (bool, error) {
	var readable bool
	err := control(s, func(fd int) error {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			_, err := unix.Poll(fds, 0)
			if err == unix.EINTR {
				continue
			}
			readable = fds[0].Revents&unix.POLLIN != 0
			return os.NewSyscallError("poll", err)
		}
	})
	return readable, err
}

// DeferAccept sets TCP_DEFER_ACCEPT in seconds, and returns what it was.
func (s *Socket) DeferAccept(seconds int) (was int, err error) {
	err = control(s, func(fd int) error {
		var err error
		if was, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT); err != nil {
			return unsupported("getsockopt TCP_DEFER_ACCEPT", err)
		}
		if was == seconds {
			return nil
		}
		return unsupported("setsockopt TCP_DEFER_ACCEPT", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds))
	})
	return was, err
}

// Handshakes returns the handshakes of the group's port that are under way, with
// whatever member.
func (s *Socket) Handshakes(ctx context.Context, diag *sockdiag.Conn, self sockdiag.Member) ([]sockdiag.Socket, error) {
	all, err := diag.Sockets(ctx, sockdiag.Request{
		Protocol: s.Protocol, Family: s.family, States: sockdiag.Set(sockdiag.SynRecv), LocalPort: s.port,
	})
	if err != nil {
		return nil, err
	}
	handshakes := all[:0]
	for _, h := range all {
		if self.Local.Addr().IsUnspecified() || h.Local.Addr().WithZone("") == self.Local.Addr().WithZone("") {
			handshakes = append(handshakes, h)
		}
	}
	return handshakes, nil
}

// Before returns who has a port, at any address, that the socket of c is going to
// be bound to.
func Before(ctx context.Context, diag *sockdiag.Conn, c syscall.RawConn, port uint16) ([]sockdiag.Member, error) {
	var domain, kind int
	err := control(c, func(fd int) (err error) {
		if domain, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
			return unsupported("getsockopt SO_DOMAIN", err)
		}
		kind, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		return unsupported("getsockopt SO_TYPE", err)
	})
	if err != nil {
		return nil, err
	}
	s := Socket{Protocol: unix.IPPROTO_TCP, family: uint8(domain), port: port}
	if kind == unix.SOCK_DGRAM {
		s.Protocol = unix.IPPROTO_UDP
	}
	return diag.Members(ctx, sockdiag.Request{
		Protocol: s.Protocol, Family: s.family, States: s.states(), LocalPort: port,
	})
}

// Filter returns the cookies of those sockets that are in Self's group.
func (m *Members) Filter(sockets []sockdiag.Member) []uint64 {
	var cookies []uint64
	for _, s := range sockets {
		if sameGroup(m.Self.Socket, s.Socket) {
			cookies = append(cookies, s.Cookie)
		}
	}
	return cookies
}

// Same reports whether the members are those of a set without an order.
func (m *Members) Same(cookies []uint64) bool {
	return len(cookies) == len(m.All) && !slices.ContainsFunc(cookies, func(c uint64) bool {
		return !slices.Contains(m.All, c)
	})
}

// SameBut reports whether the members are those of a set and one more.
func (m *Members) SameBut(cookies []uint64, one uint64) bool {
	return m.Same(append(slices.Clone(cookies), one))
}
