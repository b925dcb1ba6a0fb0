package reuse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// No child process gets a socket, whenever it is started. The control is a
// socket without SOCK_CLOEXEC.
func TestCloseOnExec(t *testing.T) {
	children := testnet.Rounds(1000, 40)
	stop := make(chan struct{})
	var listeners sync.WaitGroup
	for _, m := range modes {
		listeners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ln, err1 := m.Listen("tcp", "127.0.0.1:0")
				pc, err2 := m.ListenPacket("udp", "127.0.0.1:0")
				if err := errors.Join(err1, err2); err != nil {
					t.Error(err)
					return
				}
				ln.Close()
				pc.Close()
			}
		})
	}
	var parents sync.WaitGroup
	var inherited sync.Map
	for range 4 {
		parents.Go(func() {
			for range children / 4 {
				for _, s := range inheritedSockets(t) {
					inherited.Store(s, true)
				}
			}
		})
	}
	parents.Wait()
	close(stop)
	listeners.Wait()
	inherited.Range(func(s, _ any) bool {
		t.Errorf("a child process has %v", s)
		return true
	})

	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n := len(inheritedSockets(t)); n != 1 {
		t.Errorf("of the control's socket a child process shows %d", n)
	}
}

// inheritedSockets starts a child process, and returns what it says it has.
func inheritedSockets(t testing.TB) (sockets []string) {
	t.Helper()
	out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(out)) {
		if _, socket, ok := strings.Cut(line, "socket:"); ok {
			sockets = append(sockets, socket)
		}
	}
	return sockets
}

var errHook = errors.New("hook")

// Calls that fail leave nothing behind.
func TestLeak(t *testing.T) {
	failures := testnet.Rounds(10_000, 1000)
	t.Chdir(t.TempDir())
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	live, err := net.Listen("unix", "live")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := os.WriteFile("regular", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails := func(string, string, syscall.RawConn) error { return errHook }

	tests := []struct {
		name string
		call func(reuse.Mode) (io.Closer, error)
		want error
	}{
		{"TCP in use", func(m reuse.Mode) (io.Closer, error) { return m.Listen("tcp", holder.Addr().String()) }, unix.EADDRINUSE},
		{"UDP in use", func(m reuse.Mode) (io.Closer, error) {
			return m.ListenPacket("udp", packets.LocalAddr().String())
		}, unix.EADDRINUSE},
		{"unix in use", func(reuse.Mode) (io.Closer, error) { return reuse.Listen("unix", "live") }, unix.EADDRINUSE},
		{"no socket file", func(reuse.Mode) (io.Closer, error) { return reuse.Listen("unix", "regular") }, unix.EADDRINUSE},
		{"not local", func(m reuse.Mode) (io.Closer, error) { return m.Listen("tcp", "192.0.2.1:0") }, unix.EADDRNOTAVAIL},
		{"UDP not local", func(m reuse.Mode) (io.Closer, error) { return m.ListenPacket("udp", "192.0.2.1:0") }, unix.EADDRNOTAVAIL},
		{"bad address", func(m reuse.Mode) (io.Closer, error) { return m.Listen("tcp", "127.0.0.1:99999") }, nil},
		{"bad network", func(m reuse.Mode) (io.Closer, error) { return m.Listen("tcp5", "127.0.0.1:0") }, net.UnknownNetworkError("tcp5")},
		{"hook error", func(m reuse.Mode) (io.Closer, error) {
			config := m.ListenConfig()
			config.Control = m.With(fails)
			return config.Listen(context.Background(), "tcp", "127.0.0.1:0")
		}, errHook},
		{"hook error on UDP", func(m reuse.Mode) (io.Closer, error) {
			config := m.ListenConfig()
			config.Control = m.With(fails)
			return config.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
		}, errHook},
	}
	before := testnet.Descriptors(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			goroutines := runtime.NumGoroutine()
			for i := range failures / len(tests) {
				c, err := test.call(modes[i%len(modes)])
				if err == nil {
					c.Close()
				}
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Fatalf("error %v, want %v", err, test.want)
				}
			}
			if after := testnet.Descriptors(t); after != before {
				t.Errorf("%d descriptors, before %d", after, before)
			}
			if after := runtime.NumGoroutine(); after > goroutines {
				t.Errorf("%d goroutines, before %d", after, goroutines)
			}
		})
	}
	ln, err := reuse.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if after := testnet.Descriptors(t); after != before+1 {
		t.Errorf("the control: %d descriptors with one socket more, before %d", after, before)
	}
}

// exhaust is a process that has no descriptor left, and fails to listen.
func exhaust(args []string) error {
	// The kernel's limit is the number of the highest descriptor.
	limit := unix.Rlimit{Cur: 64, Max: 64}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	first, err := reuse.Listen("tcp", "127.0.0.1:0") // opens the poller
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var held []*os.File
	for {
		f, err := os.Open("/dev/null")
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			return err
		}
		held = append(held, f)
	}
	for i := range n {
		m := modes[i%len(modes)]
		_, err1 := m.Listen("tcp", "127.0.0.1:0")
		_, err2 := m.ListenPacket("udp", "127.0.0.1:0")
		_, err3 := reuse.Listen("unix", "@reuse-exhaust")
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, unix.EMFILE) {
				return fmt.Errorf("without a descriptor left: %v, want EMFILE", err)
			}
		}
	}
	// With one descriptor free again everything works.
	held[0].Close()
	for _, m := range modes {
		ln, err := m.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ln.Close()
		pc, err := m.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		pc.Close()
	}
	fmt.Println("nothing leaked")
	return first.Close()
}

func TestLeakExhausted(t *testing.T) {
	failures := testnet.Rounds(10_000, 1000)
	p := testnet.Start(t, os.Getuid(), "exhaust", strconv.Itoa(failures))
	if got := p.Line(t); got != "nothing leaked" {
		t.Errorf("the process says %q", got)
	}
}
