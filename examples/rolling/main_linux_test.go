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

// load sends requests on connections that are kept, until its input ends.
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
					ok.Add(1)
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

// pid returns the process id in file when it is another than old's.
func pid(t testing.TB, file string, old int) int {
	t.Helper()
	for deadline := time.Now().Add(guard); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var pid int
		text, _ := os.ReadFile(file)
		if fmt.Sscan(string(text), &pid); pid != 0 && pid != old {
			return pid
		}
	}
	t.Fatal("no new process id")
	return 0
}

// gone returns when a process that is not our child has ended.
func gone(t testing.TB, pid int) {
	t.Helper()
	for deadline := time.Now().Add(guard); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if strings.Contains(string(stat), ") Z ") {
			return // nobody waits for it
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d lives", pid)
		}
	}
}

// A server replaces itself under load.
func TestRolling(t *testing.T) {
	needDrain(t)
	file := filepath.Join(t.TempDir(), "pid")
	p := testnet.Start(t, os.Getuid(), "rolling", "-addr", "127.0.0.1:0", "-pid-file", file)
	var addr string
	var first int
	if _, err := fmt.Sscanf(p.Line(t), "listening on %s as %d", &addr, &first); err != nil || first != p.Process.Pid {
		t.Fatal(err, first)
	}
	url := "http://" + addr
	clients := testnet.Start(t, os.Getuid(), "load", url)
	last := first
	t.Cleanup(func() { syscall.Kill(last, syscall.SIGKILL) })
	for range 5 {
		old := last
		if err := syscall.Kill(old, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		last = pid(t, file, old)
		gone(t, old)
	}
	clients.In.Close()
	var ok, lost int
	fmt.Sscan(clients.Line(t), &ok, &lost)
	t.Logf("%d requests, %d lost", ok, lost)
	if ok < 100 || lost > 0 {
		t.Errorf("%d requests, %d lost", ok, lost)
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
	var addr string
	var pid int
	fmt.Sscanf(p.Line(t), "listening on %s as %d", &addr, &pid)
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
	p.Process.Signal(syscall.SIGTERM)
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// Two that were started by hand: SIGTERM to the old one hands over to the new.
func TestTerminate(t *testing.T) {
	testnet.Namespace(t)
	needDrain(t)
	old := testnet.Start(t, os.Getuid(), "rolling", "-addr", "127.0.0.1:8080")
	old.Line(t)
	clients := testnet.Start(t, os.Getuid(), "load", "http://127.0.0.1:8080")
	next := testnet.Start(t, os.Getuid(), "rolling", "-addr", "127.0.0.1:8080")
	next.Line(t)
	old.Process.Signal(syscall.SIGTERM)
	if err := old.Wait(); err != nil {
		t.Error(err)
	}
	clients.In.Close()
	var ok, lost int
	fmt.Sscan(clients.Line(t), &ok, &lost)
	if lost > 0 {
		t.Errorf("%d requests, %d lost", ok, lost)
	}
	next.Process.Signal(syscall.SIGTERM)
	if err := next.Wait(); err != nil {
		t.Error(err)
	}
}
