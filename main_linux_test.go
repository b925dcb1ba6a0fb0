package reuse_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// TestMain also runs the processes that tests start.
func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{
		"exhaust":    exhaust,
		"ignored":    ignored,
		"sandboxed":  sandboxed,
		"starter":    starter,
		"starterUDP": starterUDP,
		"thief":      thief,
	})
}

// reuseOptions are those of a socket that a test opens by hand.
type reuseOptions int

const (
	addrOption reuseOptions = 1 << iota
	portOption
	noOption reuseOptions = 0
)

func (o reuseOptions) String() string {
	return [...]string{"none", "ADDR", "PORT", "ADDR+PORT"}[o]
}

func (o reuseOptions) set(fd int) error {
	for _, option := range []struct{ name, on int }{
		{unix.SO_REUSEADDR, int(o & addrOption)},
		{unix.SO_REUSEPORT, int(o & portOption)},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option.name, min(option.on, 1)); err != nil {
			return err
		}
	}
	return nil
}

// control is a hook that gives a socket exactly the options o, those of package
// net included.
func (o reuseOptions) control(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = o.set(int(fd)) })
	return errors.Join(err, failed)
}

// options returns the value of both options of a socket.
func options(t testing.TB, sock any) reuseOptions {
	t.Helper()
	return reuseOptions(min(sockopt(t, sock, unix.SO_REUSEADDR), 1))*addrOption +
		reuseOptions(min(sockopt(t, sock, unix.SO_REUSEPORT), 1))*portOption
}

func sockopt(t testing.TB, sock any, option int) int {
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

// bind binds a new socket. The caller closes it.
func bind(kind int, addr netip.AddrPort, v6only bool, o reuseOptions) (fd int, err error) {
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
	err = o.set(fd)
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

// ownPort returns a port below those that the kernel hands out for port 0. It
// differs from that of another run of the tests.
func ownPort() string { return strconv.Itoa(10000 + os.Getpid()%20000) }

// refused fails the test unless a TCP socket without any option gets EADDRINUSE
// at addr: the negative control of every rebind.
func refused(t testing.TB, addr net.Addr) {
	t.Helper()
	fd, err := bind(unix.SOCK_STREAM, addr.(*net.TCPAddr).AddrPort(), false, noOption)
	if err == nil {
		unix.Close(fd)
	}
	if err != unix.EADDRINUSE {
		t.Errorf("without an option %v is not in use: %v", addr, err)
	}
}

// needArguments skips the test where a seccomp filter does not see the arguments of
// socket and setsockopt, since Go calls them by socketcall.
func needArguments(t testing.TB) {
	t.Helper()
	if runtime.GOARCH == "386" || runtime.GOARCH == "s390x" {
		t.Skip("needs system calls socket and setsockopt")
	}
}

// lowWord is where in an argument of a system call its lower half is.
func lowWord() uint32 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return 4
	}
	return 0
}
