package inuse_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// forbidNetlink makes socket(AF_NETLINK) fail with EPERM, on all threads, as a
// container's seccomp filter may.
func forbidNetlink() error {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	domain := 16 + testnet.LowWord() // of seccomp_data.args[0]
	_, err := testnet.Seccomp(0, []unix.SockFilter{
		{Code: load, K: 0}, // seccomp_data.nr
		{Code: equal, K: unix.SYS_SOCKET, Jf: 3},
		{Code: load, K: domain},
		{Code: equal, K: unix.AF_NETLINK, Jf: 1},
		{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	})
	return err
}

// blindExplainer is explainer without netlink.
func blindExplainer(args []string) error {
	// Threads that package runtime starts later inherit the filter, those that
	// have started get it; no_new_privs is per thread, and root needs it not.
	if err := forbidNetlink(); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	return explainer(args)
}

// TestExplainWithoutNetlink finds the same through procfs.
func TestExplainWithoutNetlink(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.NeedArguments(t)
	testnet.Namespace(t)
	explain := func(program, network, address string) string {
		t.Helper()
		return testnet.Start(t, 0, program, "1", network, address).Line(t)
	}
	p := hold(t, 0, "listen", "127.0.0.1:9999", testnet.ReuseAddr)
	config := net.ListenConfig{Control: testnet.NoOption.Control}
	ln, err := config.Listen(t.Context(), "tcp", "[::1]:9998")
	if err != nil {
		t.Fatal(err)
	}
	testnet.Leave(t, ln, "[::1]:9998", testnet.TimeWait)
	hold(t, 0, "bind", "127.0.0.1:9997", testnet.NoOption)
	bound := "bound 1 0 "
	if !listsBound(t) {
		bound = "bound 0 0 "
	}
	for _, test := range []struct{ address, seeing, blind string }{
		{"127.0.0.1:9999", "listener 1 0 ", "listener 1 0 "},
		{"[::1]:9998", "leftover 1 0 ", "leftover 1 0 "},
		{"127.0.0.1:9997", bound, "bound 0 1 "}, // procfs does not list it
	} {
		if line := explain("explainer", "tcp", test.address); !strings.HasPrefix(line, test.seeing) {
			t.Errorf("with netlink: %q, want %q", line, test.seeing)
		}
		line := explain("blindExplainer", "tcp", test.address)
		if !strings.HasPrefix(line, test.blind) {
			t.Errorf("without netlink: %q, want %q", line, test.blind)
		}
	}
	p.Stop(t)

	t.Chdir(t.TempDir())
	live, err := net.Listen("unix", "x.socket")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for _, program := range []string{"explainer", "blindExplainer"} {
		if line := explain(program, "unix", "x.socket"); !strings.HasPrefix(line, "listener 1 0 ") {
			t.Errorf("%s: %q", program, line)
		}
	}
}

// TestExplainContext: when the time is up, it tells what it has, and that it was.
func TestExplainContext(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	ln, err := net.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	err = failed(t, reuse.Addr, "tcp", "127.0.0.1:9999")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, ok := inuse.ExplainContext(ctx, err).(*inuse.Error)
	if !ok || e.Cause == inuse.CauseFree || len(e.Unseen) == 0 {
		t.Errorf("with an ended context: %v", e)
	}
	// For UDP the list of sockets is all there is to go by.
	pc, err2 := net.ListenPacket("udp", "127.0.0.1:9999")
	if err2 != nil {
		t.Fatal(err2)
	}
	defer pc.Close()
	e, ok = inuse.ExplainContext(ctx, failed(t, reuse.Addr, "udp", "127.0.0.1:9999")).(*inuse.Error)
	if !ok || e.Cause == inuse.CauseFree {
		t.Errorf("UDP, with an ended context: %v", e)
	}
	e, ok = inuse.ExplainContext(t.Context(), err).(*inuse.Error)
	if !ok || len(e.Unseen) > 0 || e.Cause != inuse.CauseSelf {
		t.Errorf("the control: %v", e)
	}
}

// TestExplainWrapped: the error may be wrapped, and stays reachable.
func TestExplainWrapped(t *testing.T) {
	testnet.NeedTables(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = net.Listen("tcp", ln.Addr().String())
	mine := errors.New("mine")
	e := explained(t, fmt.Errorf("%w: %w", mine, err))
	if !errors.Is(e, mine) || !errors.Is(e, syscall.EADDRINUSE) || e.Cause != inuse.CauseSelf {
		t.Error(e)
	}
	if e.Holders[0].Processes[0].PID != os.Getpid() {
		t.Error(e.Holders)
	}
}
