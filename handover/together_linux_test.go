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
	close func() // one after the other; returns when all is answered
}

// Shards are replaced under load, all sockets at once, and lose nothing. To close
// them without is the control. With one successor only the kernel has nobody to
// choose that stays where it is.
func TestDrainAll(t *testing.T) {
	needDrain(t)
	for _, test := range []struct {
		network, address string
		sizes            []int
	}{
		{"tcp", "127.0.0.1:0", []int{3, 2, 4, 3, 2, 4, 2, 2, 3}},
		{"tcp", "127.0.0.1:0", []int{2, 1, 3, 1, 2, 1, 3, 1, 2}},
		{"tcp6", "[::1]:0", []int{3, 2, 1, 2, 3, 2, 1, 2, 3}},
		{"udp6", "[::1]:0", []int{3, 2, 4, 3, 2, 4, 2, 2, 3}},
		// Successors of several in IPv4 do not know their slots.
		{"udp", "127.0.0.1:0", []int{3, 2}},
	} {
		t.Run(fmt.Sprint(test.network, test.sizes), func(t *testing.T) {
			lossless(t, func(drain bool) (lost int) {
				answered, lost := replaceShards(t, test.network, test.address, test.sizes, drain)
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
	const clients = 24
	patience := guard // of a client whose datagram may only be late
	if !drain {
		patience = 5 * time.Second
	}
	old, address := serveShard(t, network, address, sizes[0])
	var ok, failed atomic.Int64
	var stopped atomic.Bool
	var asking sync.WaitGroup
	step := make(chan struct{}, 1)
	for range clients {
		asking.Go(func() {
			for !stopped.Load() {
				if err := askShard(network, address, patience); err != nil {
					if failed.Add(1) == 1 {
						t.Log(err)
					}
				} else {
					ok.Add(1)
				}
				select {
				case step <- struct{}{}:
				default:
				}
			}
		})
	}
	for i := 1; i < len(sizes); i++ {
		for range 50 {
			<-step
		}
		next, _ := serveShard(t, network, address, sizes[i])
		if drain {
			ctx, cancel := context.WithTimeout(context.Background(), guard)
			err := old.drain(ctx)
			cancel()
			if err != nil {
				t.Error(err)
			}
		}
		old.close()
		old = next
	}
	for range 50 {
		<-step
	}
	stopped.Store(true)
	asking.Wait()
	old.close()
	return int(ok.Load()), int(failed.Load())
}

// askShard makes a request, which is lost if it is not answered in time.
func askShard(network, address string, patience time.Duration) error {
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// serveShard opens n sockets, which answer until they are closed.
func serveShard(t *testing.T, network, address string, n int) (s shardServer, at string) {
	t.Helper()
	var serving sync.WaitGroup
	var closers []func() error
	if network[0] == 't' {
		var lns []*handover.Listener
		for range n {
			ln, err := handover.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			address = ln.Addr().String()
			lns, closers = append(lns, ln), append(closers, ln.Close)
			serving.Go(func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					serving.Go(func() { answer(conn) })
				}
			})
		}
		s.drain = func(ctx context.Context) error { return handover.DrainAll(ctx, lns...) }
	} else {
		var pcs []*handover.PacketConn
		for range n {
			pc, err := handover.ListenPacket(network, address)
			if err != nil {
				t.Fatal(err)
			}
			address = pc.LocalAddr().String()
			pcs = append(pcs, pc)
			answered := make(chan struct{})
			closers = append(closers, func() error {
				// What it has read it has to answer first.
				pc.SetReadDeadline(time.Now())
				<-answered
				return pc.Close()
			})
			go func() {
				defer close(answered)
				buf := make([]byte, 1)
				for {
					_, from, err := pc.ReadFromUDPAddrPort(buf)
					if err != nil {
						return
					}
					pc.WriteToUDPAddrPort(buf, from)
				}
			}()
		}
		s.drain = func(ctx context.Context) error { return handover.DrainAll(ctx, pcs...) }
	}
	s.close = func() {
		for _, c := range closers {
			if err := c(); err != nil {
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
		ln, err := handover.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		address = ln.Addr().String()
		return ln
	}
	serve := func(ln net.Listener, name string) {
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				io.WriteString(conn, name)
				conn.Close()
			}
		}()
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
	serve(leaves, "leaves")
	serve(stays, "stays")
	serve(b, "b")
	ctx, cancel := context.WithTimeout(t.Context(), testnet.Slow(300*time.Millisecond))
	defer cancel()
	if err := handover.DrainAll(ctx, a, b); !errors.Is(err, context.DeadlineExceeded) {
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
	serve(a, "a")
	if err := handover.DrainAll(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got, err := io.ReadAll(connect()); string(got) != "stays" || err != nil {
			t.Errorf("%s answers, %v", got, err)
		}
	}
}

// Without others, or with sockets of different ports, all serve on.
func TestDrainAllFails(t *testing.T) {
	needDrain(t)
	open := func(address string) *handover.Listener {
		ln, err := handover.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	before, a := open("127.0.0.1:0"), open("127.0.0.1:0")
	b, after := open(a.Addr().String()), open("127.0.0.1:0")
	if err := handover.DrainAll(t.Context(), a, b); !errors.Is(err, handover.ErrAlone) {
		t.Errorf("nobody else: %v", err)
	}
	for _, elsewhere := range []*handover.Listener{before, after} {
		if err := handover.DrainAll(t.Context(), a, elsewhere); err == nil || errors.Is(err, handover.ErrAlone) {
			t.Errorf("two ports: %v", err)
		}
	}
	if err := handover.DrainAll[*handover.Listener](t.Context()); err != nil {
		t.Errorf("none: %v", err)
	}
	c := open(a.Addr().String())
	if err := handover.DrainAll(t.Context(), a, b); err != nil {
		t.Errorf("after failures: %v", err)
	}
	// It has all, and nothing of a failure is left that keeps others waiting.
	for range 20 {
		client, err := net.Dial("tcp", c.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		client.Close()
	}
	a.Close()
	b.Close()
	d := open(c.Addr().String())
	if err := c.Drain(t.Context()); err != nil {
		t.Errorf("the next: %v", err)
	}
	_ = d
}
