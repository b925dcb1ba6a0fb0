package testnet

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Options are those of a socket that a test opens by hand.
type Options int

// The options. A socket that has both has their sum.
const (
	ReuseAddr Options = 1 << iota // SO_REUSEADDR
	ReusePort                     // SO_REUSEPORT
	NoOption  Options = 0
)

func (o Options) String() string {
	return [...]string{"none", "ADDR", "PORT", "ADDR+PORT"}[o]
}

// Set gives a socket exactly the options o.
func (o Options) Set(fd int) error {
	for _, option := range []struct{ name, on int }{
		{unix.SO_REUSEADDR, int(o & ReuseAddr)},
		{unix.SO_REUSEPORT, int(o & ReusePort)},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option.name, min(option.on, 1)); err != nil {
			return err
		}
	}
	return nil
}

// Control is a hook that gives a socket exactly the options o, those of package
// net included.
func (o Options) Control(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = o.Set(int(fd)) })
	return errors.Join(err, failed)
}

// OptionsOf returns the value of both options of a socket.
func OptionsOf(t testing.TB, sock any) Options {
	t.Helper()
	return Options(min(Sockopt(t, sock, unix.SO_REUSEADDR), 1))*ReuseAddr +
		Options(min(Sockopt(t, sock, unix.SO_REUSEPORT), 1))*ReusePort
}

// Sockopt returns the value of an option of a socket.
func Sockopt(t testing.TB, sock any, option int) int {
	t.Helper()
	c, err := sock.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var failed error
	err = c.Control(func(fd uintptr) {
		value, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option)
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return value
}

// Bind binds a new socket. The caller closes it.
func Bind(kind int, addr netip.AddrPort, v6only bool, o Options) (fd int, err error) {
	family := unix.AF_INET6
	zone, _ := net.InterfaceByName(addr.Addr().Zone())
	if zone == nil {
		zone = new(net.Interface)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: uint32(zone.Index)}
	if addr.Addr().Is4() {
		family = unix.AF_INET
		sa = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = o.Set(fd)
	if err == nil && v6only {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
