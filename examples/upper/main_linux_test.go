package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func(args []string) error{
		"upper": func([]string) error {
			main()
			return nil
		},
		// The tests read what the program prints to its standard error.
		"upper 2>&1 >&2": func([]string) error {
			os.Stdout, os.Stderr = os.Stderr, os.Stdout
			log.SetOutput(os.Stderr)
			main()
			return nil
		},
		"ulimit -n 32; upper 2>&1": func([]string) error {
			limit := &unix.Rlimit{Cur: 32, Max: 32}
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, limit); err != nil {
				return err
			}
			log.SetOutput(os.Stdout)
			main()
			return nil
		},
	})
}

// stop sends p a signal, upon which it has to end well.
func stop(t testing.TB, p *testnet.Process, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if code, lines := p.End(t); code != 0 || lines != nil {
		t.Errorf("%v: %v, printed %q", s, p.ProcessState, lines)
	}
}

// eventually returns when f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(guard); !f(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

func TestSignal(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			p := testnet.Start(t, os.Getuid(), "upper", "-addr", "127.0.0.1:0")
			addr := parse(t, "tcp", p.Line(t))
			silent, stuck := dialTCP(t, addr), dialTCP(t, addr)
			hello(t, silent)
			eventually(t, "the server waits for a client that does not read", func() bool {
				return fill(t, stuck) == 0 && asleep(t, p.Process.Pid) && fill(t, stuck) == 0
			})
			stop(t, p, s)
			if n, err := silent.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("silent client: %d, %v", n, err)
			}
		})
	}
}

// hello makes sure that conn is accepted and served.
func hello(t testing.TB, conn net.Conn) {
	t.Helper()
	got := make([]byte, 5)
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "HELLO" {
		t.Fatalf("%q, %v", got, err)
	}
}

// fill writes to conn until nothing more fits in, and returns how much did.
func fill(t testing.TB, conn *net.TCPConn) (n int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64<<10)
	raw.Control(func(fd uintptr) {
		for err == nil {
			var written int
			written, err = unix.Write(int(fd), data)
			n += max(written, 0)
		}
	})
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	return n
}

// asleep reports whether all threads of a process wait for something.
func asleep(t testing.TB, pid int) bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || files == nil {
		t.Fatalf("no threads: %v", err)
	}
	for _, file := range files {
		stat, _ := os.ReadFile(file)
		_, state, _ := bytes.Cut(stat, []byte(") "))
		if !bytes.HasPrefix(state, []byte("S")) {
			return false
		}
	}
	return true
}

func TestRestartAtOnce(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	start := func() *testnet.Process {
		p := testnet.Start(t, os.Getuid(), "upper")
		if addr := parse(t, "tcp", p.Line(t)); !strings.HasSuffix(addr, ":9999") {
			t.Fatalf("listens on %s", addr)
		}
		return p
	}
	for range 3 {
		p := start()
		conn := dialTCP(t, "127.0.0.1:9999")
		hello(t, conn)
		stop(t, p, syscall.SIGTERM)
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("read from a server that stopped: %v", err)
		}
		conn.Close()
		inTimeWait := func() bool {
			for _, s := range testnet.Sockets(t) {
				if s.Local.String() == conn.RemoteAddr().String() &&
					s.Remote.String() == conn.LocalAddr().String() {
					return s.State == testnet.TimeWait
				}
			}
			return false
		}
		eventually(t, "the connection is in TIME_WAIT", inTimeWait)
		if err := bind(9999); err != unix.EADDRINUSE {
			t.Errorf("control: bind without SO_REUSEADDR: %v, want %v", err, unix.EADDRINUSE)
		}

		p = start()
		if !inTimeWait() {
			t.Error("the connection was not in TIME_WAIT any more")
		}
		stop(t, p, syscall.SIGINT)
	}
	if err := bind(9998); err != nil {
		t.Errorf("control: bind a free port: %v", err)
	}
}

// bind binds a TCP socket to a port as a program does that knows no options.
func bind(port int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrInet4{Port: port})
}

// acceptKeeps reports whether a connection that accept(2) had no descriptor for is
// still there afterwards. In gVisor it is not.
func acceptKeeps(t *testing.T) bool {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	defer dialTCP(t, ln.Addr().String()).Close()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var scarce, plenty error
	err = raw.Control(func(listener uintptr) {
		if _, plenty = unix.Poll([]unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}, 10_000); plenty != nil {
			return
		}
		var free int
		if free, plenty = unix.Dup(int(listener)); plenty != nil {
			return
		}
		unix.Close(free)
		var limit unix.Rlimit
		if plenty = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); plenty != nil {
			return
		}
		none := unix.Rlimit{Cur: uint64(free), Max: limit.Max}
		if plenty = unix.Setrlimit(unix.RLIMIT_NOFILE, &none); plenty != nil {
			return
		}
		_, _, scarce = unix.Accept4(int(listener), unix.SOCK_CLOEXEC)
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
		var conn int
		if conn, _, plenty = unix.Accept4(int(listener), unix.SOCK_CLOEXEC); plenty == nil {
			unix.Close(conn)
		}
	})
	if err != nil || scarce != unix.EMFILE || plenty != nil && plenty != unix.EAGAIN {
		t.Fatal(err, scarce, plenty)
	}
	return plenty == nil
}

// Connections that come when the descriptors are used up wait, and are served
// when others end.
func TestOutOfDescriptors(t *testing.T) {
	if !acceptKeeps(t) {
		t.Skip("needs a kernel that keeps the connection for which accept has no descriptor")
	}
	p := testnet.Start(t, os.Getuid(), "ulimit -n 32; upper 2>&1", "-addr", "127.0.0.1:0")
	addr := parse(t, "tcp", p.Line(t))
	conns := make([]*net.TCPConn, 64)
	for i := range conns {
		conns[i] = dialTCP(t, addr)
	}
	if line := p.Line(t); !strings.Contains(line, unix.EMFILE.Error()) {
		t.Fatalf("the server has descriptors left: %q", line)
	}
	var clients sync.WaitGroup
	for i, conn := range conns {
		clients.Go(func() {
			if err := ask(conn, message(byte(i), 10<<10)); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	clients.Wait()
	if err := ask(dialTCP(t, addr), []byte("after all")); err != nil {
		t.Error(err)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := p.End(t); code != 0 {
		t.Error(p.ProcessState)
	}
}

func TestUDPProcess(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := testnet.Start(t, os.Getuid(), "upper", "-net", "udp4", "-addr", "127.0.0.1:0")
		conn := dial(t, "udp", parse(t, "udp4", p.Line(t)))
		buf := make([]byte, 64<<10)
		for _, size := range []int{0, 1, 1024, 65507} {
			sent := message(4, size)
			if _, err := conn.Write(sent); err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Read(buf); err != nil || !bytes.Equal(buf[:n], oracle(sent)) {
				t.Errorf("%d bytes: got %d, %v", size, n, err)
			}
		}
		stop(t, p, s)
	}
}

func TestNetworks(t *testing.T) {
	for network, addr := range map[string]string{
		"tcp": "127.0.0.1:0", "tcp4": ":0", "tcp6": "[::1]:0",
		"udp": "127.0.0.1:0", "udp4": ":0", "udp6": "[::1]:0",
	} {
		t.Run(network, func(t *testing.T) {
			if ln, err := net.Listen("tcp", "[::1]:0"); err == nil {
				ln.Close()
			} else if strings.HasSuffix(network, "6") {
				t.Skipf("needs IPv6: %v", err)
			}
			p := testnet.Start(t, os.Getuid(), "upper", "-net", network, "-addr", addr)
			hello(t, dial(t, network, parse(t, network, p.Line(t))))
			stop(t, p, syscall.SIGTERM)
		})
	}
}

func TestExitCode(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, test := range []struct {
		args []string
		code int
		want string // in the first line, or in the only one with code 1
	}{
		{[]string{"-net", "unix"}, 2, "Usage"},
		{[]string{"-net", "tcp5"}, 2, "Usage"},
		{[]string{"-net", ""}, 2, "Usage"},
		{[]string{":9999"}, 2, "Usage"},
		{[]string{"-addr", "127.0.0.1:0", "more"}, 2, "Usage"},
		{[]string{"-port", "9999"}, 2, "-port"},
		{[]string{"-addr", "127.0.0.1"}, 1, "upper: listen tcp: address 127.0.0.1: missing port"},
		{[]string{"-addr", "127.0.0.1:65536"}, 1, "65536: invalid port"},
		{[]string{"-addr", ln.Addr().String()}, 1, ln.Addr().String() + ": bind: address already in use"},
		{[]string{"-net", "udp", "-addr", "127.0.0.1"}, 1, "upper: listen udp: address 127.0.0.1: missing port"},
		{[]string{"-net", "udp6", "-addr", "127.0.0.1:0"}, 1, "upper: listen udp6: "},
	} {
		p := testnet.Start(t, os.Getuid(), "upper 2>&1 >&2", test.args...)
		code, lines := p.End(t)
		if code != test.code || lines == nil || !strings.Contains(lines[0], test.want) || code == 1 && len(lines) != 1 {
			t.Errorf("%q: exit code %d, %.200q; want %d, %q", test.args, code, strings.Join(lines, "\n"), test.code, test.want)
		}
	}
}
