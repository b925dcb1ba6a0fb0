package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{
		"rolling": func([]string) error {
			main()
			return nil
		},
		"broken": func([]string) error {
			if _, ok := os.LookupEnv(readyEnv); ok {
				return fmt.Errorf("this build is broken")
			}
			main()
			return nil
		},
		"stuck": func([]string) error {
			if _, ok := os.LookupEnv(readyEnv); ok {
				fmt.Println("starting", os.Getpid())
				time.Sleep(guard) // the test kills it
			}
			main()
			return nil
		},
		"load": load,
	})
}

// needDrain skips the test where package handover says that it cannot drain.
func needDrain(t testing.TB) {
	t.Helper()
	ln, err := handover.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := ln.Drain(t.Context()); errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
}

const guard = 60 * time.Second

// load sends requests on connections that are kept, until its input ends. It
// prints a line when it has had some answers, and one with what it counted.
func load(args []string) error {
	var ok, lost atomic.Int64
	var stop atomic.Bool
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: guard}
			for !stop.Load() {
				resp, err := client.Post(args[0], "text/plain", strings.NewReader("hello"))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err == nil && resp.StatusCode == http.StatusOK {
					if ok.Add(1) == 100 {
						fmt.Println("running")
					}
				} else if lost.Add(1) < 3 {
					fmt.Fprintln(os.Stderr, "load:", err)
				}
			}
		})
	}
	io.Copy(io.Discard, os.Stdin)
	stop.Store(true)
	clients.Wait()
	fmt.Println(ok.Load(), lost.Load())
	return nil
}

// listening returns the address and the process id that a server prints, p or one
// that shares its output.
func listening(t testing.TB, p *testnet.Process) (addr string, pid int) {
	t.Helper()
	line := p.Line(t)
	if _, err := fmt.Sscanf(line, "listening on %s as %d", &addr, &pid); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return addr, pid
}

// gone returns when a process that is not our child has ended.
func gone(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for deadline := time.Now().Add(guard); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		if n > 0 {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("process %d lives: %v", pid, err)
		}
	}
}

// A server replaces itself under load.
func TestRolling(t *testing.T) {
	needDrain(t)
	file := filepath.Join(t.TempDir(), "pid")
	p := testnet.Start(t, os.Getuid(), "rolling", "-addr", "127.0.0.1:0", "-pid-file", file)
	addr, first := listening(t, p)
	if first != p.Process.Pid {
		t.Fatalf("process %d, want %d", first, p.Process.Pid)
	}
	url := "http://" + addr
	clients := startLoad(t, url)
	last := first
	t.Cleanup(func() { syscall.Kill(last, syscall.SIGKILL) })
	for range 5 {
		old := last
		if err := syscall.Kill(old, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		_, last = listening(t, p)
		if text, err := os.ReadFile(file); string(text) != fmt.Sprintln(last) {
			t.Errorf("the file has %q, %v, want %d", text, err, last)
		}
		gone(t, old)
	}
	if lost := lostBy(t, clients); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != fmt.Sprintln(last) {
		t.Errorf("%q, want %d", body, last)
	}
	// Alone: SIGTERM ends it all the same.
	http.DefaultClient.CloseIdleConnections()
	syscall.Kill(last, syscall.SIGTERM)
	gone(t, last)
	// Not before, since it closes the output of them all.
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// Systemd learns the new main process before the old one ends.
func TestNotify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(guard))
	t.Setenv("NOTIFY_SOCKET", name)
	main := func() (pid int) {
		buf := make([]byte, 100)
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(string(buf[:n]), "MAINPID=%d\nREADY=1", &pid); err != nil {
			t.Fatalf("%q: %v", buf[:n], err)
		}
		return pid
	}
	p := testnet.Start(t, os.Getuid(), "rolling", "-addr", "127.0.0.1:0")
	if pid := main(); pid != p.Process.Pid {
		t.Errorf("main process %d, want %d", pid, p.Process.Pid)
	}
	p.Process.Signal(syscall.SIGHUP)
	next := main()
	t.Cleanup(func() { syscall.Kill(next, syscall.SIGKILL) })
	if next == p.Process.Pid || syscall.Kill(next, 0) != nil {
		t.Errorf("main process %d", next)
	}
	gone(t, p.Process.Pid)
	syscall.Kill(next, syscall.SIGTERM)
	gone(t, next)
}

// If the new build does not start, the old one serves on.
func TestBroken(t *testing.T) {
	p := testnet.Start(t, os.Getuid(), "broken", "-addr", "127.0.0.1:0")
	addr, pid := listening(t, p)
	p.Process.Signal(syscall.SIGHUP)
	for range 20 {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != fmt.Sprintln(pid) {
			t.Errorf("%q, want %d", body, pid)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	p.Process.Signal(syscall.SIGTERM)
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// Signals that come while a successor starts are obeyed afterwards, all of them.
func TestSignalsWhileStarting(t *testing.T) {
	p := testnet.Start(t, os.Getuid(), "stuck", "-addr", "127.0.0.1:0")
	listening(t, p)
	p.Process.Signal(syscall.SIGHUP)
	first := true
	for line := p.Line(t); line != ""; line = p.Line(t) {
		var successor int
		if _, err := fmt.Sscanf(line, "starting %d", &successor); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if first {
			p.Process.Signal(syscall.SIGHUP)
			p.Process.Signal(syscall.SIGTERM)
			first = false
		}
		syscall.Kill(successor, syscall.SIGKILL)
	}
	if err := p.Wait(); err != nil || first {
		t.Errorf("%v; a successor started: %v", err, !first)
	}
}

func startLoad(t testing.TB, url string) *testnet.Process {
	t.Helper()
	clients := testnet.Start(t, os.Getuid(), "load", url)
	if line := clients.Line(t); line != "running" {
		t.Fatalf("the load prints %q", line)
	}
	return clients
}

// lostBy ends a load, and returns how many requests it lost.
func lostBy(t testing.TB, clients *testnet.Process) (lost int) {
	t.Helper()
	clients.In.Close()
	var ok int
	line := clients.Line(t)
	if _, err := fmt.Sscan(line, &ok, &lost); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	t.Logf("%d requests, %d lost", ok, lost)
	return lost
}

// Two that were started by hand: SIGTERM to the old one hands over to the new, and
// loses nothing. SIGKILL is the control, of TestRolling as well.
func TestTerminate(t *testing.T) {
	testnet.Namespace(t)
	needDrain(t)
	end := func(signal syscall.Signal) (lost int) {
		const addr = "127.0.0.1:8080"
		old := testnet.Start(t, os.Getuid(), "rolling", "-addr", addr)
		listening(t, old)
		clients := startLoad(t, "http://"+addr)
		next := testnet.Start(t, os.Getuid(), "rolling", "-addr", addr)
		listening(t, next)
		old.Process.Signal(signal)
		if err := old.Wait(); err != nil && signal == syscall.SIGTERM {
			t.Error(err)
		}
		lost = lostBy(t, clients)
		next.Process.Signal(syscall.SIGTERM)
		if err := next.Wait(); err != nil {
			t.Error(err)
		}
		return lost
	}
	if lost := end(syscall.SIGTERM); lost > 0 {
		t.Errorf("%d requests lost", lost)
	}
	for range 20 {
		if end(syscall.SIGKILL) > 0 {
			return
		}
	}
	t.Error("control: killing the server loses nothing")
}
