package bench_test

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// threeMore is net.Listen with three more system calls.
func threeMore() operation {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return setOptions(c, unix.SO_REUSEADDR, unix.SO_REUSEADDR, unix.SO_KEEPALIVE)
	}}
	return newOperation("tcp4", way[net.Listener]{"three-more", func(network, address string) (net.Listener, error) {
		return config.Listen(context.Background(), network, address)
	}})
}

// traceableOperations are those that countSystemCalls takes.
func traceableOperations() []operation {
	return slices.Concat(listens(), listenPackets(), []operation{threeMore()}, explains())
}

// A bound is the most that an operation may cost. An operation that is not here
// has none, among them that of Addr on a UDP port that is taken.
//
// Port makes a system call more than the options need: it reads SO_REUSEPORT back.
// Hooks are allocated for each call, which a program makes once.
type bound struct{ systemCalls, allocations int }

func bounds() map[string]bound {
	return map[string]bound{
		"tcp4/Addr": {12, 18},
		"tcp4/Port": {14, 20},
		"udp4/Addr": {9, 15},
		"udp4/Port": {9, 17},

		"explain/unrelated": {0, 2},
	}
}

// count applies f to all operations, in one network namespace.
func count(t *testing.T, f func(operation) int) map[string]int {
	t.Helper()
	testnet.Namespace(t)
	counts := map[string]int{}
	for _, o := range traceableOperations() {
		counts[o.String()] = f(o)
		t.Logf("%-16v%3d", o, counts[o.String()])
	}
	return counts
}

// Package reuse keeps its bounds. With Addr a TCP listener costs four system calls
// more than that of package net does in the same run: the keep-alive options,
// which net sets on every connection.
func TestCounts(t *testing.T) {
	t.Run("system calls", systemCalls)
	t.Run("allocations", allocations)
}

func systemCalls(t *testing.T) {
	counts := count(t, func(o operation) int {
		c, err := countSystemCalls(o)
		if errors.Is(err, errNoStrace) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.total()%tracedRuns != 0 && o.network != "explain" {
			t.Errorf("%v: not every run makes the same system calls: %v", o, c)
		}
		return c.total() / tracedRuns
	})
	if counts["explain/free"] == 0 {
		t.Error("Explain makes no system call where it explains")
	}
	for name, most := range bounds() {
		if counts[name] > most.systemCalls {
			t.Errorf("%s makes %d system calls, want %d at most", name, counts[name], most.systemCalls)
		}
	}
	if got, want := counts["tcp4/Addr"], counts["tcp4/net"]+4; got != want {
		t.Errorf("Addr.Listen makes %d system calls, want %d", got, want)
	}
	if got, want := counts["tcp4/three-more"], counts["tcp4/net"]+3; got != want {
		t.Errorf("the control makes %d system calls, want %d: the counter does not count", got, want)
	}
}

func allocations(t *testing.T) {
	counts := count(t, func(o operation) int {
		stop, err := o.start()
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		return int(testing.AllocsPerRun(1000, func() {
			if err := o.run(); err != nil {
				t.Fatal(err)
			}
		}))
	})
	if raceDetector() {
		t.Skip("the bounds do not hold with the race detector, which makes sync.Pool drop items")
	}
	for name, most := range bounds() {
		if counts[name] > most.allocations {
			t.Errorf("%s makes %d allocations, want %d at most", name, counts[name], most.allocations)
		}
	}
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
