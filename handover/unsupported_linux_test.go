package handover_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestNewUnsupported(t *testing.T) {
	mptcp := net.ListenConfig{Control: reuse.Port.Control}
	mptcp.SetMultipathTCP(true)
	for _, test := range []struct {
		name   string
		listen func() (net.Listener, error)
		cure   string // in the error
	}{
		{"no SO_REUSEPORT", func() (net.Listener, error) { return net.Listen("tcp4", "127.0.0.1:0") }, "reuse.Port"},
		{"Multipath TCP", func() (net.Listener, error) { return mptcp.Listen(t.Context(), "tcp", "127.0.0.1:0") }, "SetMultipathTCP(false)"},
		{"unix", func() (net.Listener, error) { return net.Listen("unix", t.TempDir()+"/socket") }, "UnixListener"},
	} {
		t.Run(test.name, func(t *testing.T) {
			enabled, _ := os.ReadFile("/proc/sys/net/mptcp/enabled")
			if test.name == "Multipath TCP" && string(enabled) != "1\n" {
				t.Skip("needs a kernel with Multipath TCP")
			}
			ln, err := test.listen()
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			if _, err := handover.New(ln); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), test.cure) {
				// net.Listen's may be of Multipath TCP, too.
				if !errors.Is(err, errors.ErrUnsupported) || test.name != "no SO_REUSEPORT" {
					t.Errorf("%v, want errors.ErrUnsupported and %q", err, test.cure)
				}
			}
			// The old one goes on.
			if err := ln.(interface{ Close() error }).Close(); err != nil {
				t.Error(err)
			}
		})
	}
	needDrain(t)
	plain := net.ListenConfig{Control: reuse.Port.Control}
	plain.SetMultipathTCP(false)
	ln, err := plain.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	control, err := handover.New(ln)
	if err != nil {
		t.Fatal("control:", err)
	}
	control.Close()
	if err := control.Drain(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Drain of a closed listener: %v", err)
	}
	for _, network := range []string{"unix", "udp", "tcp5"} {
		if ln, err := handover.Listen(network, "127.0.0.1:0"); err == nil {
			ln.Close()
			t.Errorf("Listen on %s succeeds", network)
		}
	}
}

// forbidden is serve in a sandbox that refuses what its first argument names, with
// the error number of the second.
func forbidden(args []string) error {
	errno, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := forbid(args[0], unix.Errno(errno)); err != nil {
		return err
	}
	return serve(args[2:])
}

// forbid makes a sandbox that refuses "netlink" or "membarrier".
func forbid(what string, errno unix.Errno) error {
	refused := []unix.SockFilter{
		{Code: 0x20, K: 0}, // the number of the system call
		{Code: 0x15, K: unix.SYS_MEMBARRIER, Jf: 1},
		{Code: 0x06, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
	}
	if what == "netlink" { // socket(AF_NETLINK)
		refused = []unix.SockFilter{
			{Code: 0x20, K: 0},
			{Code: 0x15, K: unix.SYS_SOCKET, Jf: 3},
			{Code: 0x20, K: 16 + testnet.LowWord()}, // its first argument
			{Code: 0x15, K: unix.AF_NETLINK, Jf: 1},
			{Code: 0x06, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		}
	}
	filter := append(refused, unix.SockFilter{Code: 0x06, K: unix.SECCOMP_RET_ALLOW})
	if _, err := testnet.Seccomp(0, filter); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, 1, 0, 0); (errno != 0) != (what == "membarrier") {
		return fmt.Errorf("membarrier: %v", errno)
	}
	return nil
}

// Without netlink Drain says so, with the cure, and the server serves on; without
// membarrier it waits longer, and loses nothing either.
func TestSeccomp(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	// Where socket(2) is a socketcall, a filter does not see its arguments.
	if runtime.GOARCH != "386" && runtime.GOARCH != "s390x" {
		for errno, cure := range map[unix.Errno]string{
			unix.EPERM:        "has to allow netlink's NETLINK_SOCK_DIAG",
			unix.EAFNOSUPPORT: "add AF_NETLINK to RestrictAddressFamilies=", // as in a unit that has it
		} {
			server := start(t, os.Getuid(), "forbidden", "netlink", strconv.Itoa(int(errno)))
			next := start(t, os.Getuid(), "serve")
			server.tell(t, "drain")
			if line := server.expect(t, "unsupported"); !strings.Contains(line, "sock_diag") || !strings.Contains(line, cure) {
				t.Errorf("%q does not tell what is missing, or the cure", line)
			}
			if got := shares(t, addr); len(got) != 2 {
				t.Errorf("%v answer", got)
			}
			next.replaceBy(t, "Listen", server)
			server.end(t)
		}
	}

	lossless(t, func(drain bool) (lost int) {
		return replaced(t, drain, times(10),
			func() process { return start(t, os.Getuid(), "forbidden", "membarrier", strconv.Itoa(int(unix.EPERM))) },
			func() process { return start(t, os.Getuid(), "load") })
	})
}

// What a Drain leaves: no descriptor, no goroutine.
func TestDrainLeak(t *testing.T) {
	testnet.Namespace(t)
	needDrain(t)
	first := listenEarly(t, "tcp4", addr)
	run := func() {
		other, err := handover.Listen("tcp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := listenNow(other); err != nil {
			t.Fatal(err)
		}
		if err := other.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := first.Drain(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		if err := other.Drain(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Drain after Close: %v", err)
		}
	}
	run()
	descriptors, goroutines := testnet.Descriptors(t), runtime.NumGoroutine()
	for range 20 {
		run()
	}
	if n := testnet.Descriptors(t); n > descriptors {
		t.Errorf("%d descriptors, before %d", n, descriptors)
	}
	fewGoroutines(t, goroutines)
}
