package handover_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"example.com/reuse/handover"
)

// A member that leaves meanwhile takes another slot away from one that is drained.
func TestDrainAllMoved(t *testing.T) {
	needDrain(t)
	address := "127.0.0.1:0"
	open := func() *handover.Listener {
		ln := listenEarly(t, "tcp", address)
		address = ln.Addr().String()
		return ln
	}
	connect := func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(guard))
		return conn
	}
	// In the order of their slots.
	leaves, a, stays, b := open(), open(), open(), open()
	for range 64 { // of which a does not accept its share
		connect()
	}
	serveNamed(t, leaves, "leaves")
	serveNamed(t, stays, "stays")
	serveNamed(t, b, "b")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- handover.DrainAll(ctx, a, b) }()
	inARow(t, func(patience time.Duration) (steered, answered bool) {
		got, err := nameAt(address, patience)
		return got == "leaves" || got == "stays", err == nil
	})
	cancel() // it waits for a's queue
	if err := <-drained; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	leaves.Close() // b, the last one, moves into its place
	astray := 0
	for range 20 {
		if got, _ := io.ReadAll(connect()); string(got) == "b" {
			astray++
		}
	}
	if astray == 0 {
		t.Error("control: what is steered goes where it did before")
	}
	serveNamed(t, a, "a")
	if err := handover.DrainAll(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	if got := named(t, address, 20); got["stays"] != 20 {
		t.Errorf("%v answer, want stays", got)
	}
}

// If one of the ports has nobody else, all serve on.
func TestDrainAllFails(t *testing.T) {
	needDrain(t)
	open := func(address, name string) *handover.Listener {
		ln := listenEarly(t, "tcp", address)
		serveNamed(t, ln, name)
		return ln
	}
	before, a := open("127.0.0.1:0", "before"), open("127.0.0.1:0", "a")
	address := a.Addr().String()
	b, after := open(address, "b"), open("127.0.0.1:0", "after")
	if err := handover.DrainAll(t.Context(), a, b); !errors.Is(err, handover.ErrNoSuccessor) {
		t.Errorf("nobody else: %v", err)
	}
	// b is a's successor.
	for _, alone := range []*handover.Listener{before, after} {
		if err := handover.DrainAll(t.Context(), a, alone); !errors.Is(err, handover.ErrNoSuccessor) {
			t.Errorf("two ports: %v", err)
		}
		named(t, alone.Addr().String(), 1)
		if got := named(t, address, 100); len(got) != 2 {
			t.Errorf("after a failure %v answer", got)
		}
	}
	if err := handover.DrainAll(t.Context()); err != nil {
		t.Errorf("none: %v", err)
	}
	// Nothing of a failure is left that keeps others waiting.
	c := open(address, "c")
	if err := handover.DrainAll(t.Context(), a, b); err != nil {
		t.Errorf("after failures: %v", err)
	}
	if got := named(t, address, 20); got["c"] != 20 {
		t.Errorf("%v answer, want c", got)
	}
	a.Close()
	b.Close()
	open(address, "d")
	if err := c.Drain(t.Context()); err != nil {
		t.Errorf("the next: %v", err)
	}
	if got := named(t, address, 20); got["d"] != 20 {
		t.Errorf("%v answer, want d", got)
	}
}

// serveNamed answers each connection with a name, until the listener is closed.
func serveNamed(t testing.TB, ln net.Listener, name string) (ended <-chan struct{}) {
	t.Helper()
	if err := listenNow(ln); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	go func() {
		defer close(end)
		for {
			conn, err := ln.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error("accept:", err)
				}
				return
			}
			io.WriteString(conn, name)
			conn.Close()
		}
	}()
	return end
}

// named makes n connections, and returns who answers how often.
func named(t testing.TB, address string, n int) map[string]int {
	t.Helper()
	names := map[string]int{}
	for range n {
		name, err := nameAt(address, guard)
		if err != nil {
			t.Fatal(err)
		}
		names[name]++
	}
	return names
}

func nameAt(address string, patience time.Duration) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetLinger(0)
	conn.SetDeadline(time.Now().Add(patience))
	name, err := io.ReadAll(conn)
	return string(name), err
}
