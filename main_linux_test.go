package reuse_test

import (
	"net"
	"os"
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
		"service":    service,
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
