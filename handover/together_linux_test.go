package handover_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
)

// A shardServer is a process's sockets on one port, several of them.
type shardServer struct {
	drain func(context.Context) error
	close func(last bool) // one after the other; returns when all is answered
}

// Shards are replaced under load, all sockets at once, and lose nothing. To close
// them without is the control. With one successor only the kernel has nobody to
// choose that stays where it is.
func TestDrainAll(t *testing.T) {
	needDrain(t)
	for _, test := range []struct {
		network, address string
		sizes            []int // of which the first four show each order of more and less
	}{
		{"tcp", "127.0.0.1:0", []int{3, 2, 4, 3, 2, 4, 2, 2, 3}},
		{"tcp", "127.0.0.1:0", []int{2, 1, 3, 1, 2, 1, 3, 1, 2}},
		{"tcp6", "[::1]:0", []int{3, 2, 1, 2, 3, 2, 1, 2, 3}},
		{"udp6", "[::1]:0", []int{3, 2, 4, 3, 2, 4, 2, 2, 3}},
		{"udp", "127.0.0.1:0", []int{3, 2, 4}},
	} {
		sizes := test.sizes[:testnet.Rounds(len(test.sizes), min(len(test.sizes), 4))]
		t.Run(fmt.Sprint(test.network, sizes), func(t *testing.T) {
			lossless(t, func(drain bool) (lost int) {
				answered, lost := replaceShards(t, test.network, test.address, sizes, drain)
				t.Logf("drained %v: %d answered, %d lost", drain, answered, lost)
				if answered == 0 {
					t.Error("nothing is answered")
				}
				return lost
			})
		})
	}
}

// replaceShards replaces a shard by one of the next size under load.
func replaceShards(t *testing.T, network, address string, sizes []int, drain bool) (answered, lost int) {
	t.Helper()
	old, address := serveShard(t, network, address, sizes[0])
	step := make(chan struct{}, 1)
	load := newShardLoad(t, network, address, func() {
		select {
		case step <- struct{}{}:
		default:
		}
	})
	if !drain && network[0] == 'u' {
		sizes = sizes[:2] // a client that has lost something asks no more
	}
	for _, size := range sizes[1:] {
		for range 50 {
			<-step
		}
		next, _ := serveShard(t, network, address, size)
		if drain {
			ctx, cancel := context.WithTimeout(context.Background(), guard)
			err := old.drain(ctx)
			cancel()
			if err != nil {
				t.Error(err)
			}
		}
		old.close(false)
		old = next
	}
	load.stop(drain)
	old.close(true)
	return load.counts()
}

// A shardLoad is clients of a shard.
type shardLoad struct {
	stop   func(patient bool)          // returns when nothing more is asked
	counts func() (answered, lost int) // comes when the servers have ended
}

func newShardLoad(t *testing.T, network, address string, answered func()) shardLoad {
	t.Helper()
	const clients = 24
	if network[0] == 'u' {
		c := newCrowd(clients, network, address, answered, func(err error) { t.Log(err) })
		return shardLoad{c.stop, func() (answered, lost int) {
			c.end()
			return int(c.answered.Load()), int(c.lost.Load())
		}}
	}
	var ok, failed atomic.Int64
	var stopped atomic.Bool
	var asking sync.WaitGroup
	for range clients {
		asking.Go(func() {
			for !stopped.Load() {
				if err := request(net.Dialer{}, network, address); err == nil {
					ok.Add(1)
					answered()
				} else if failed.Add(1) == 1 {
					t.Log(err)
				}
			}
		})
	}
	return shardLoad{
		func(bool) { stopped.Store(true); asking.Wait() },
		func() (answered, lost int) { return int(ok.Load()), int(failed.Load()) },
	}
}

// serveShard opens n sockets, which answer until they are closed.
func serveShard(t *testing.T, network, address string, n int) (s shardServer, at string) {
	t.Helper()
	var serving sync.WaitGroup
	var closers []func(last bool) error
	if network[0] == 't' {
		var lns []handover.Drainable
		for range n {
			ln, err := handover.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			address = ln.Addr().String()
			lns, closers = append(lns, ln), append(closers, func(bool) error { return ln.Close() })
			serving.Go(func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					serving.Go(func() { answer(conn) })
				}
			})
			listens(t, ln)
		}
		s.drain = func(ctx context.Context) error { return handover.DrainAll(ctx, lns...) }
	} else {
		var pcs []handover.Drainable
		for range n {
			e, err := newEcho(network, address)
			if err != nil {
				t.Fatal(err)
			}
			address = e.LocalAddr().String()
			pcs, closers = append(pcs, e.PacketConn), append(closers, func(last bool) error {
				if last {
					return e.finish()
				}
				return e.Close()
			})
		}
		s.drain = func(ctx context.Context) error { return handover.DrainAll(ctx, pcs...) }
	}
	s.close = func(last bool) {
		for _, c := range closers {
			if err := c(last); err != nil {
				t.Error(err)
			}
		}
		serving.Wait()
	}
	return s, address
}

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
