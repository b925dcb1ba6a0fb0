package reuse

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An option that the kernel lacks is unsupported, with its errno.
func TestUnknownOption(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	c := rawConn(t, pc)
	err = setOption(c, 9999, "SO_NONE", 1)
	if err == nil {
		t.Skip("needs a kernel that refuses options which it does not know")
	}
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("%v, want ENOPROTOOPT and errors.ErrUnsupported", err)
	}
	if err := setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	setOption(c, 9999, "SO_NONE", 1)
	if err := setOption(noSocket{}, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); err != nil {
		t.Errorf("the error of another call: %v", err)
	}
	pc.Close()
	if err := setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed socket: %v, want net.ErrClosed", err)
	}
}

func rawConn(t testing.TB, pc net.PacketConn) syscall.RawConn {
	t.Helper()
	c, err := pc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type noSocket struct{ syscall.RawConn }

func (noSocket) Control(func(uintptr)) error { return nil }

// A bound socket that cannot be adjusted is closed.
func TestAdjustFails(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = adjust(pc, "udp", func(syscall.RawConn) error { return unix.EPERM })
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, unix.EPERM) {
		t.Errorf("%v, want EPERM in a *net.OpError", err)
	}
	if err := pc.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is still open: %v", err)
	}
}

// A socket for a multicast address keeps SO_REUSEADDR also on the second try,
// which it gets only if the first was refused by somebody who has gone since.
func TestSealedMulticast(t *testing.T) {
	for address, want := range map[string]bool{"224.0.0.1:0": true, "127.0.0.1:0": false} {
		pc, err := Addr.bindSealed("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		c := rawConn(t, pc)
		if got, err := hasAddr(c); got != want || err != nil {
			t.Errorf("%s: SO_REUSEADDR %v, %v, want %v", address, got, err, want)
		}
	}
}

// The spellings of a wildcard address are those for which package net opens one
// socket for both versions of IP, as its SO_DOMAIN and IPV6_V6ONLY show.
func TestIsDual(t *testing.T) {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("needs IPv6: ", err)
	}
	ln.Close()
	for _, network := range []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"} {
		for _, host := range []string{"", "::", "0.0.0.0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "::%lo",
			"127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "localhost"} {
			address := net.JoinHostPort(host, "0")
			var sock syscall.Conn
			var addr net.Addr
			if network[0] == 't' {
				ln, err := net.Listen(network, address)
				if err != nil {
					continue // the address is of the other version
				}
				defer ln.Close()
				sock, addr = ln.(*net.TCPListener), ln.Addr()
			} else {
				pc, err := net.ListenPacket(network, address)
				if err != nil {
					continue
				}
				defer pc.Close()
				sock, addr = pc.(*net.UDPConn), pc.LocalAddr()
			}
			c, err := sock.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var domain, only int
			var failed error
			err = c.Control(func(fd uintptr) {
				if domain, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); domain == unix.AF_INET6 {
					only, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
				}
			})
			if err := errors.Join(err, failed); err != nil {
				t.Fatal(err)
			}
			host, _, _ := net.SplitHostPort(addr.String())
			want := domain == unix.AF_INET6 && only == 0 && net.ParseIP(host).IsUnspecified()
			if got := isDual(network, address); got != want {
				t.Errorf("isDual(%q, %q) = %v, want %v", network, address, got, want)
			}
		}
	}
	for _, address := range []string{"", ":", "0.0.0.0", "[::]"} {
		if got, want := isDual("tcp", address), address == ":"; got != want {
			t.Errorf("isDual(tcp, %q) = %v", address, got)
		}
	}
}
