package handover

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"example.com/reuse"
	"example.com/reuse/internal/group"
	"example.com/reuse/internal/keepalive"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

func listen(network, address string) (tcp *net.TCPListener, m *member, bound bool, err error) {
	var beside early
	defer beside.close()
	config := reuse.Port.ListenConfig()
	config.Control = reuse.Port.With(beside.bind)
	ln, err := keepalive.Listen(context.Background(), *config, network, address)
	switch {
	case errors.Is(err, errBound):
		ln, err = net.FileListener(beside.file)
		bound = true
	case errors.Is(err, errors.ErrUnsupported):
		ln, err = reuse.Listen(network, address)
	}
	if err != nil {
		return nil, nil, false, err
	}
	if tcp, err = tcpOf(ln, network); err != nil {
		return nil, nil, false, err
	}
	m, err = memberOf(tcp)
	if err != nil {
		tcp.Close()
		return nil, nil, false, err
	}
	if !bound {
		m.joined(context.Background())
	} else if m.err == nil {
		m.announced, _ = m.Announce() // without, a Drain does not wait for it
	}
	return tcp, m, bound, nil
}

// An early socket is bound by a Control hook, if somebody listens there: package net
// would make it listen, too.
type early struct{ file *os.File }

// errBound ends package net's attempt.
var errBound = errors.New("bound")

func (e *early) bind(network, address string, c syscall.RawConn) (err error) {
	at, ok := bindAddress(network, address)
	if !ok || !listened(c, at) {
		return nil
	}
	controlled := c.Control(func(fd uintptr) {
		var own int
		if own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err != nil {
			err = os.NewSyscallError("fcntl", err)
			return
		}
		e.close()
		e.file = os.NewFile(uintptr(own), "listener")
		if err = os.NewSyscallError("bind", unix.Bind(own, sockaddr(at))); err == nil {
			err = errBound
		}
	})
	return errors.Join(controlled, err)
}

func (e *early) close() {
	if e.file != nil {
		e.file.Close()
	}
}

// bindAddress returns the address that package net would bind a socket of a network
// to, as it tells a Control hook.
func bindAddress(network, address string) (at netip.AddrPort, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return at, false
	}
	if host == "" || network == "tcp6" && host == "0.0.0.0" {
		host = "0.0.0.0"
		if network == "tcp6" {
			host = "::"
		}
	}
	at, err = netip.ParseAddrPort(net.JoinHostPort(host, port))
	return at, err == nil && at.Port() != 0
}

// listened reports whether somebody listens at an address, on a port that a socket is
// going to be bound to.
func listened(c syscall.RawConn, at netip.AddrPort) bool {
	diag, err := sockdiag.Open()
	if err != nil {
		return false // Drain reports it
	}
	defer diag.Close()
	return group.Listened(context.Background(), diag, c, at)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	sa := &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	if i, err := net.InterfaceByName(a.Addr().Zone()); err == nil {
		sa.ZoneId = uint32(i.Index)
	} else if n, err := strconv.ParseUint(a.Addr().Zone(), 10, 32); err == nil {
		sa.ZoneId = uint32(n)
	}
	return sa
}

func listenPacket(network, address string) (*net.UDPConn, *member, error) {
	udp, err := openPacket(network, address)
	if err != nil {
		return nil, nil, err
	}
	m, err := memberOf(udp)
	if err != nil {
		udp.Close()
		return nil, nil, err
	}
	m.joined(context.Background())
	return udp, m, nil
}

// memberOf returns the member of a socket, which may not be one that can be drained.
func memberOf(conn syscall.Conn) (*member, error) {
	c, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	m := newMember(c)
	m.remember()
	return m, nil
}

// adopt returns the member of a socket that can be drained.
func adopt(conn syscall.Conn) (*member, error) {
	c, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	m, err := adoptRaw(c)
	if err == nil {
		m.remember()
		m.joined(context.Background())
	}
	return m, err
}

func adoptRaw(c syscall.RawConn) (*member, error) {
	m := newMember(c)
	return m, m.err
}
