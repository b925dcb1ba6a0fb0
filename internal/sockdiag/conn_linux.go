package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn is a netlink socket. It sees the network namespace of the thread that
// opened it. It is not safe for concurrent use.
type Conn struct {
	fd  int
	seq uint32
	buf []byte

	perFamily bool // the kernel has no request for both
}

// silence is how long the kernel may take for the next part of an answer. It
// computes it within the system call, in microseconds per thousand sockets.
const silence = time.Second

// Open opens a Conn. Where the kernel has no sock_diag the error is of a kind
// that [Missing] recognizes, here or at the first request.
func Open() (*Conn, error) {
	fd, err := open()
	if err != nil {
		return nil, err
	}
	return &Conn{fd: fd, buf: make([]byte, 64<<10)}, nil
}

func open() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, os.NewSyscallError("socket NETLINK_SOCK_DIAG", err)
	}
	timeout := unix.NsecToTimeval(int64(silence))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
	}
	return fd, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }

// Missing reports whether err says that sock_diag, or the part of it that was
// asked, is not to be had: not built in, the module not loaded, an emulated
// kernel, or forbidden by a seccomp filter.
func Missing(err error) bool {
	for _, errno := range []error{
		unix.ENOENT,          // no handler: tcp_diag, udp_diag or unix_diag is not loaded
		unix.EPROTONOSUPPORT, // no NETLINK_SOCK_DIAG: gVisor, qemu-user
		unix.EAFNOSUPPORT,    // no netlink
		unix.EINVAL,          // no such request
		unix.EOPNOTSUPP,
		unix.ENOSYS,
		unix.EPERM,
		unix.EACCES,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// A Request selects sockets.
type Request struct {
	Protocol   uint8  // unix.IPPROTO_TCP or unix.IPPROTO_UDP
	Family     uint8  // unix.AF_INET or unix.AF_INET6; 0 both
	States     States // 0 means AnyState
	LocalPort  uint16 // 0 any
	RemotePort uint16 // 0 any
	Limit      int    // stop after so many sockets; 0 never
}

// errEnough ends an answer.
var errEnough = errors.New("enough")

// Sockets returns the sockets that r selects. The kernel walks through all it
// has in those states, and sends those on the port.
func (c *Conn) Sockets(ctx context.Context, r Request) ([]Socket, error) {
	if r.States == 0 {
		r.States = AnyState
	}
	if r.Family == 0 && r.Protocol == unix.IPPROTO_TCP && !c.perFamily {
		// The kernel walks once, and not for each family.
		sockets, err := c.dump(ctx, getTCP, bothRequest(r), r)
		if err == nil || !Missing(err) {
			return sockets, err
		}
		c.perFamily = true
	}
	families := []uint8{r.Family}
	if r.Family == 0 {
		families = []uint8{unix.AF_INET, unix.AF_INET6}
	}
	var sockets []Socket
	for _, family := range families {
		more, err := c.dump(ctx, unix.SOCK_DIAG_BY_FAMILY, inetRequest(r, family), r)
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, more...)
		if r.Limit > 0 && len(sockets) >= r.Limit {
			return sockets[:r.Limit], nil
		}
	}
	return sockets, nil
}

// getTCP is TCPDIAG_GETSOCK of linux/inet_diag.h, which dumps both families.
const getTCP = 18

// dump returns the sockets of one answer.
func (c *Conn) dump(ctx context.Context, kind uint16, body []byte, r Request) (sockets []Socket, err error) {
	err = c.ask(ctx, kind, unix.NLM_F_DUMP, body, func(body reader) error {
		s, err := parseInet(body, r.Protocol)
		// What the kernel should have left out is not taken on trust.
		if err == nil && (r.LocalPort == 0 || r.LocalPort == s.Local.Port()) &&
			(r.RemotePort == 0 || r.RemotePort == s.Remote.Port()) {
			sockets = append(sockets, s)
		}
		if err == nil && r.Limit > 0 && len(sockets) == r.Limit {
			err = errEnough
		}
		return err
	})
	if err != nil && err != errEnough {
		return nil, fmt.Errorf("sock_diag dump of protocol %d: %w", r.Protocol, err)
	}
	return sockets, nil
}

// bothRequest returns a struct inet_diag_req, which is for both families.
func bothRequest(r Request) []byte {
	const idAt, statesAt, size = 4, 52, 60
	body := make([]byte, size)
	binary.BigEndian.PutUint16(body[idAt:], r.LocalPort)
	binary.BigEndian.PutUint16(body[idAt+2:], r.RemotePort)
	binary.NativeEndian.PutUint32(body[statesAt:], uint32(r.States))
	return body
}

// inetRequest returns a struct inet_diag_req_v2.
func inetRequest(r Request, family uint8) []byte {
	body := make([]byte, sizeInetRequest)
	body[0], body[1] = family, r.Protocol
	binary.NativeEndian.PutUint32(body[4:], uint32(r.States))
	binary.BigEndian.PutUint16(body[8:], r.LocalPort)
	binary.BigEndian.PutUint16(body[10:], r.RemotePort)
	return body
}

// Lookup returns the present state of a socket that Sockets returned. The error
// is unix.ENOENT if it is not there any more.
func (c *Conn) Lookup(ctx context.Context, s Socket) (Socket, error) {
	found := Socket{}
	err := c.ask(ctx, unix.SOCK_DIAG_BY_FAMILY, 0, lookupRequest(s), func(body reader) (err error) {
		found, err = parseInet(body, s.Protocol)
		return err
	})
	if err == unix.ESTALE {
		err = unix.ENOENT // UDP's word for another socket in its place
	}
	if err != nil {
		return Socket{}, fmt.Errorf("sock_diag look-up of %v: %w", s.Local, err)
	}
	return found, nil
}

// lookupRequest returns a struct inet_diag_req_v2 for one socket.
func lookupRequest(s Socket) []byte {
	local, remote := s.Local, s.Remote
	if s.Protocol == unix.IPPROTO_UDP {
		// It looks for the receiver of a packet that the socket would
		// send ("src and dst are swapped for historical reasons").
		local, remote = remote, local
	}
	body := inetRequest(Request{
		Protocol: s.Protocol, States: AnyState, LocalPort: local.Port(), RemotePort: remote.Port(),
	}, s.Family)
	putAddr(body[12:28], s.Family, local.Addr())
	putAddr(body[28:44], s.Family, remote.Addr())
	binary.NativeEndian.PutUint32(body[44:], s.Interface)
	binary.NativeEndian.PutUint32(body[48:], uint32(s.Cookie))
	binary.NativeEndian.PutUint32(body[52:], uint32(s.Cookie>>32))
	return body
}

func putAddr(b []byte, family uint8, addr netip.Addr) {
	if family == unix.AF_INET {
		a := addr.As4()
		copy(b, a[:])
		return
	}
	a := addr.As16()
	copy(b, a[:])
}

// UnixSockets returns all sockets of family AF_UNIX.
func (c *Conn) UnixSockets(ctx context.Context) ([]UnixSocket, error) {
	var sockets []UnixSocket
	err := c.ask(ctx, unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP, unixRequest(), func(body reader) error {
		s, err := parseUnix(body)
		if err == nil {
			sockets = append(sockets, s)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sock_diag dump of unix sockets: %w", err)
	}
	return sockets, nil
}

// unixRequest returns a struct unix_diag_req.
func unixRequest() []byte {
	const show = 1<<0 | 1<<1 | 1<<6 // UDIAG_SHOW_NAME, UDIAG_SHOW_VFS, UDIAG_SHOW_UID
	body := make([]byte, sizeUnixRequest)
	body[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(body[4:], uint32(AnyState))
	binary.NativeEndian.PutUint32(body[12:], show)
	return body
}

// ask sends a request and calls f with each socket of the answer.
func (c *Conn) ask(ctx context.Context, kind, flags uint16, body []byte, f func(reader) error) error {
	complete, err := c.exchange(ctx, kind, flags, body, f)
	if complete {
		return err
	}
	// The kernel is still answering, and would refuse the next request.
	fd, failed := open()
	if failed != nil {
		return errors.Join(err, failed)
	}
	unix.Close(c.fd)
	c.fd = fd
	return err
}

// exchange is ask. It reports whether the answer was received to its end.
func (c *Conn) exchange(ctx context.Context, kind, flags uint16, body []byte, f func(reader) error) (complete bool, err error) {
	if err := c.send(kind, flags, body); err != nil {
		return true, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		datagram, err := c.receive()
		if err != nil {
			return false, err
		}
		done, err := eachMessage(datagram, binary.NativeEndian, c.seq, func(answer uint16, body reader) error {
			if answer != kind {
				return fmt.Errorf("%w: type %d", errMalformed, answer)
			}
			return f(body)
		})
		if done || err != nil {
			return done, err
		}
	}
}

// send sends a request.
func (c *Conn) send(kind, flags uint16, body []byte) error {
	c.seq++
	message := make([]byte, sizeHeader, sizeHeader+len(body))
	binary.NativeEndian.PutUint32(message, uint32(sizeHeader+len(body)))
	binary.NativeEndian.PutUint16(message[4:], kind)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(message[8:], c.seq)
	message = append(message, body...)
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	return os.NewSyscallError("sendto", unix.Sendto(c.fd, message, 0, kernel))
}

// receive returns the next datagram that the kernel sent.
func (c *Conn) receive() ([]byte, error) {
	for {
		n, _, flags, from, err := unix.Recvmsg(c.fd, c.buf, nil, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil, fmt.Errorf("no answer of the kernel for %v: %w", silence, os.ErrDeadlineExceeded)
		case err != nil:
			return nil, os.NewSyscallError("recvmsg", err)
		}
		// A privileged process may send to any netlink socket; the kernel's
		// port is 0.
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue
		}
		if flags&unix.MSG_TRUNC != 0 {
			return nil, fmt.Errorf("%w: longer than %d bytes", errMalformed, len(c.buf))
		}
		return c.buf[:n], nil
	}
}
