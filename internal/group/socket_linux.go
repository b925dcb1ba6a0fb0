package group

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A Socket is one of this process, or a copy of another's: bound with
// SO_REUSEPORT, on TCP or UDP.
type Socket struct {
	syscall.RawConn
	Protocol uint8 // unix.IPPROTO_TCP or unix.IPPROTO_UDP
	Cookie   uint64
	Key      Key // of its group
	memory   *memory
}

// A Key is what the members of a group have in common (inet_reuseport_add_sock,
// udp_reuseport_add_sock).
type Key struct {
	protocol, family uint8
	local            netip.AddrPort
	device           uint32 // without the bit that Hide adds
	v6only           bool
	uid              uint32
}

// protocolMPTCP is IPPROTO_MPTCP.
const protocolMPTCP = 262

// ErrMPTCP says that a socket is one of Multipath TCP, which the kernel neither
// steers nor shows.
var ErrMPTCP = fmt.Errorf("a Multipath TCP listener cannot be steered; open it with reuse.Port, or with SetMultipathTCP(false): %w",
	errors.ErrUnsupported)

// Open returns the socket of c. It changes nothing of it.
func Open(c syscall.RawConn) (*Socket, error) {
	s := &Socket{RawConn: c}
	err := control(c, func(fd int) error {
		protocol, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL, "SO_PROTOCOL")
		if err != nil {
			return err
		}
		switch protocol {
		case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
			s.Protocol = uint8(protocol)
		case protocolMPTCP:
			return ErrMPTCP
		default:
			return fmt.Errorf("protocol %d: %w", protocol, errors.ErrUnsupported)
		}
		shares, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, "SO_REUSEPORT")
		if err != nil {
			return err
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
		s.Key, err = keyOf(fd, s.Protocol)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func keyOf(fd int, protocol uint8) (Key, error) {
	k := Key{protocol: protocol}
	device, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, "SO_BINDTOIFINDEX")
	if err != nil {
		return k, err
	}
	k.device = uint32(device)
	local, err := unix.Getsockname(fd)
	switch local := local.(type) {
	case *unix.SockaddrInet4:
		k.family, k.local = unix.AF_INET, netip.AddrPortFrom(netip.AddrFrom4(local.Addr), uint16(local.Port))
	case *unix.SockaddrInet6:
		k.family, k.local = unix.AF_INET6, netip.AddrPortFrom(netip.AddrFrom16(local.Addr).Unmap(), uint16(local.Port))
		v6only, err := getsockopt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, "IPV6_V6ONLY")
		if err != nil {
			return k, err
		}
		k.v6only = v6only != 0
	default:
		return k, errors.Join(os.NewSyscallError("getsockname", err), errors.ErrUnsupported)
	}
	var stat unix.Stat_t
	err = unix.Fstat(fd, &stat) // the socket's owner is that of its inode (sock_i_uid)
	k.uid = stat.Uid
	return k, os.NewSyscallError("fstat", err)
}

// String names the group, and no other.
func (k Key) String() string {
	network := "tcp"
	if k.protocol == unix.IPPROTO_UDP {
		network = "udp"
	}
	switch {
	case k.family == unix.AF_INET:
		network += "4"
	case k.v6only:
		network += "6"
	}
	name := fmt.Sprintf("%s %v of user %d", network, k.local, k.uid)
	if k.device != 0 {
		name += fmt.Sprintf(", device %d", k.device)
	}
	return name
}

// dual reports whether the socket takes IPv4 and IPv6.
func (k Key) dual() bool {
	return k.family == unix.AF_INET6 && !k.v6only && k.local.Addr() == netip.IPv6Unspecified()
}

// Port returns the port that the socket is bound to.
func (k Key) Port() uint16 { return k.local.Port() }

// Listening reports whether a TCP socket listens. One that is only bound is in no
// group yet (inet_hash).
func (s *Socket) Listening() (bool, error) {
	var listens bool
	err := control(s, func(fd int) error {
		on, err := getsockopt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN, "SO_ACCEPTCONN")
		listens = on != 0
		return err
	})
	return listens, err
}

// Listen makes a TCP socket listen that is bound, with the longest backlog that
// the system allows.
func Listen(c syscall.RawConn) error {
	return control(c, func(fd int) error { return os.NewSyscallError("listen", unix.Listen(fd, 1<<31-1)) })
}

// Queue returns the number of connections that wait to be accepted:
// tcpi_unacked of a listener (tcp_get_info).
func (s *Socket) Queue() (length int, err error) {
	err = control(s, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return unsupported("getsockopt TCP_INFO", err)
		}
		if sockdiag.State(info.State) != sockdiag.Listen {
			return fmt.Errorf("the kernel does not show the listener's queue: %w", errors.ErrUnsupported)
		}
		length = int(info.Unacked)
		return nil
	})
	return length, err
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
		if was, err = getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, "TCP_DEFER_ACCEPT"); err != nil || was == seconds {
			return err
		}
		return setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds, "TCP_DEFER_ACCEPT")
	})
	return was, err
}

// Transparent reports whether the socket gets packets to any address and port:
// IP_TRANSPARENT.
func (s *Socket) Transparent() (bool, error) {
	var on int
	err := control(s, func(fd int) (err error) {
		on, err = getsockopt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, "IP_TRANSPARENT")
		return err
	})
	return on != 0, err
}
