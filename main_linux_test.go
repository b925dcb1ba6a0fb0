package reuse_test

import (
	"encoding/binary"
	"net"
	"os"
	"runtime"
	"strconv"
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

// ownPort returns a port below those that the kernel hands out for port 0. It
// differs from that of another run of the tests.
func ownPort() string { return strconv.Itoa(10000 + os.Getpid()%20000) }

// refused fails the test unless a TCP socket without any option gets EADDRINUSE
// at addr: the negative control of every rebind.
func refused(t testing.TB, addr net.Addr) {
	t.Helper()
	fd, err := testnet.Bind(unix.SOCK_STREAM, addr.(*net.TCPAddr).AddrPort(), false, testnet.NoOption)
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
