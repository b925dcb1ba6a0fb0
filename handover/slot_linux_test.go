package handover_test

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// Where the slots cannot be learnt Drain says why, and what helps; the server keeps
// its share. With the cure it drains: the control.
func TestUnknownSlot(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	t.Run("a port of the system's", func(t *testing.T) {
		testnet.NeedRoot(t)
		testnet.Namespace(t)
		testnet.Sysctl(t, "ip_unprivileged_port_start", "1024")
		testnet.Sysctl(t, "ip_unprivileged_port_start", "0")
		server, next := start(t, nobody, "serve"), start(t, nobody, "serve")
		testnet.Sysctl(t, "ip_unprivileged_port_start", "10000")
		server.tell(t, "drain")
		if line := server.expect(t, "unknown"); !strings.Contains(line, "bind: permission denied") || !strings.Contains(line, "CAP_NET_BIND_SERVICE") {
			t.Errorf("%q does not tell why, or what helps", line)
		}
		serving(t, server, next)
		testnet.Sysctl(t, "ip_unprivileged_port_start", "9999")
		server.replaceBy(t, "Listen", next)
	})
	t.Run("SO_INCOMING_CPU", func(t *testing.T) {
		testnet.Namespace(t)
		var lns []*handover.Listener
		for i := range 2 * runtime.NumCPU() {
			lns = append(lns, listenEarly(t, "tcp4", addr))
			incomingCPU(t, lns[i], i%runtime.NumCPU())
		}
		err := lns[0].Drain(t.Context())
		if outcome(err) != "unknown" || !strings.Contains(err.Error(), "SO_INCOMING_CPU") {
			t.Errorf("%v does not tell why", err)
		}
		for _, ln := range lns {
			incomingCPU(t, ln, -1)
		}
		if err := lns[0].Drain(t.Context()); err != nil {
			t.Error("control:", err)
		}
	})
}

func incomingCPU(t testing.TB, sock syscall.Conn, cpu int) {
	t.Helper()
	c, err := sock.SyscallConn()
	if err == nil {
		err = setsockopt(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_INCOMING_CPU, cpu) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A listener that was adopted among others learns its slot.
func TestAdopted(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	first := start(t, os.Getuid(), "serve")
	server := start(t, os.Getuid(), "serve", "-adopt")
	server.tell(t, "drain")
	server.expect(t, "drained")
	if got := shares(t, addr); len(got) != 1 || got[first.pid()] == 0 {
		t.Errorf("%v answer, want %d", got, first.pid())
	}
}
