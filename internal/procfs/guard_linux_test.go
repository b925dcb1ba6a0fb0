package procfs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// hanger maps a file. A thread that reads that memory has a lock of all of it for as
// long as the file is read; and while another one waits to change the memory, nobody
// else gets the lock.
func hanger([]string) error {
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	fd, err := unix.Open(in.Text(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	memory, err := unix.Mmap(fd, 0, testnet.HangingParts*testnet.HangingStep, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	if err := unix.Madvise(memory, unix.MADV_RANDOM); err != nil { // not several pages at once
		return err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	fmt.Println("ready")
	for part := range testnet.HangingParts {
		go unix.Write(pipe[1], memory[part*testnet.HangingStep:][:1])
	}
	go func() {
		for {
			other, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err == nil {
				unix.Munmap(other)
			}
		}
	}()
	in.Scan()
	return in.Err()
}

// A process whose memory hangs costs no more than the time, and of the others nothing
// is read in that look.
func TestHanging(t *testing.T) {
	t.Parallel()
	testnet.PrivateMounts(t)
	plain, hanging := testnet.Start(t, os.Getuid(), "hanger"), testnet.Start(t, os.Getuid(), "hanger")
	fmt.Fprintln(plain.In, "/dev/zero")
	fmt.Fprintln(hanging.In, testnet.Hanging(t))
	if plain.Line(t) != "ready" || hanging.Line(t) != "ready" {
		t.Fatal("not ready")
	}

	guard := new(Guard)
	for range 1000 {
		if args := proc.Arguments(t.Context(), guard, plain.Process.Pid, 0); len(args) != 1 || guard.stuck {
			t.Fatalf("of a process that does not hang: %d arguments", len(args))
		}
	}
	for guard := new(Guard); !guard.stuck; { // until it hangs
		if args := proc.Arguments(t.Context(), guard, hanging.Process.Pid, 0); (args == nil) != guard.stuck {
			t.Fatalf("of a process that hangs: %d arguments, stuck %v", len(args), guard.stuck)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testnet.Slow(time.Second))
	defer cancel()
	if args := proc.Arguments(ctx, guard, hanging.Process.Pid, 0); args != nil || !guard.stuck || ctx.Err() != nil {
		t.Errorf("with a deadline: %d arguments, stuck %v, %v", len(args), guard.stuck, ctx.Err())
	}
	if p, ok := proc.Process(hanging.Process.Pid); !ok || p.Name == "" || proc.Command(p.PID) == "" || proc.Cgroup(p.PID) == "" {
		t.Errorf("besides its arguments: %+v", p)
	}
	if env := proc.Environment(t.Context(), guard, plain.Process.Pid, "TESTNET_PROGRAM"); len(env) != 0 {
		t.Errorf("after that: environment %q", env)
	}
	if args := proc.Arguments(t.Context(), new(Guard), plain.Process.Pid, 0); len(args) != 1 {
		t.Errorf("in the next look: %d arguments", len(args))
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	guard = new(Guard)
	if args := proc.Arguments(ended, guard, plain.Process.Pid, 0); args != nil || guard.stuck {
		t.Errorf("with an ended context: %d arguments, stuck %v", len(args), guard.stuck)
	}
}

func TestEnvironment(t *testing.T) {
	p, _ := start(t, nil, "waiter")
	env := proc.Environment(t.Context(), new(Guard), p.Process.Pid, "TESTNET_PROGRAM", "no such key")
	if len(env) != 1 || env["TESTNET_PROGRAM"] != "waiter" {
		t.Errorf("%q", env)
	}
	if env := proc.Environment(t.Context(), new(Guard), 1<<30, "TESTNET_PROGRAM"); len(env) != 0 {
		t.Errorf("of a process that is not there: %q", env)
	}
	if got, want := proc.Directory(p.Process.Pid), "/"; got != want {
		t.Errorf("directory %q, want %q", got, want)
	}
}

// The facts of a process are those that it has.
func TestProcess(t *testing.T) {
	before := time.Now().Add(-2 * time.Second)
	p, _ := start(t, nil, "holder", "50", "na) me")
	got, ok := proc.Process(p.Process.Pid)
	if !ok || got.PID != p.Process.Pid || got.Parent != os.Getpid() || got.Group != unix.Getpgrp() || got.UID != os.Getuid() || got.Tracer != 0 || got.Name != "na) me" {
		t.Errorf("%+v, %v", got, ok)
	}
	if at := got.Started(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("started %v, after %v", at, before)
	}
	if self, ok := proc.Process(os.Getpid()); !ok || self.Start > got.Start {
		t.Errorf("this one %+v, that one %+v", self, got)
	}
	if err := p.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for state := got.State; state != 'T'; {
		now, ok := proc.Process(p.Process.Pid)
		if !ok {
			t.Fatal("the process has ended")
		}
		state = now.State
	}
	groups := proc.Groups()
	found := map[int]bool{}
	for _, pid := range groups[unix.Getpgrp()] {
		found[pid] = true
	}
	if !found[os.Getpid()] || !found[p.Process.Pid] {
		t.Errorf("process group %v", groups[unix.Getpgrp()])
	}
	// Ended, and not asked for.
	p.Process.Kill()
	for slices.Contains(proc.Groups()[unix.Getpgrp()], p.Process.Pid) { // until its last thread has ended
	}
	if now, ok := proc.Process(p.Process.Pid); !ok || now.State != 'Z' {
		t.Errorf("ended, and not asked for: %+v, %v", now, ok)
	}
	p.Wait()
	if got, ok := proc.Process(p.Process.Pid); ok {
		t.Errorf("after its end: %+v", got)
	}
	if (Process{}).Started() != (time.Time{}) {
		t.Error("what is not known has a start")
	}
	needsRoot(t, "for a process of another user")
	p, _ = start(t, as(otherUser), "waiter")
	if got, ok := proc.Process(p.Process.Pid); !ok || got.UID != otherUser {
		t.Errorf("another user's: %+v, %v", got, ok)
	}
}

// All users may read the addresses of a process's network.
func TestAddresses(t *testing.T) {
	has := func(pid int, addr string) bool {
		for _, a := range proc.Addresses(pid) {
			if a.String() == addr {
				return true
			}
		}
		return false
	}
	if !has(os.Getpid(), "127.0.0.1") {
		t.Errorf("this process has %v", proc.Addresses(os.Getpid()))
	}
	testnet.Namespace(t)
	p, _ := start(t, nil, "waiter")
	if addrs := proc.Addresses(p.Process.Pid); !has(p.Process.Pid, "127.0.0.1") || !has(p.Process.Pid, "::1") || len(addrs) != 2 {
		t.Errorf("in a new namespace: %v", addrs)
	}
	if addrs := proc.Addresses(1 << 30); len(addrs) != 0 {
		t.Errorf("of no process: %v", addrs)
	}
	for text, want := range map[string]int{"": 0, "/32 host LOCAL\n": 0, "|-- 10.0.0.0\n  /24 link UNICAST\n": 0,
		"|-- x\n/32 host LOCAL\n": 0, "   |-- 10.0.0.1\n      /32 host LOCAL\n |-- 10.0.0.1\n  /32 host LOCAL\n": 1} {
		if got := parseLocal(text); len(got) != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
