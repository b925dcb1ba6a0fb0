package handover_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
)

// A shardServer is a process's sockets on one port, several of them.
type shardServer struct {
	socks []handover.Drainable
	close func(last bool) // one after the other; returns when all is answered
}

// Shards are replaced under load, all sockets at once, and lose nothing. To close
// them without is the control. With one successor only the kernel has nobody to
// choose that stays where it is.
func TestDrainAll(t *testing.T) {
	t.Parallel()
	needDrain(t)
	for _, test := range []struct {
		network, address string
		sizes            []int // of which the first three show more and less
		backward         bool
	}{
		{"tcp", "127.0.0.1:0", []int{3, 2, 4, 3, 2, 4, 2, 2, 3}, false},
		{"tcp", "127.0.0.1:0", []int{2, 1, 4, 1, 2, 1, 3, 1, 2}, false},
		{"tcp", "127.0.0.1:0", []int{4, 1, 2, 1, 3, 1, 3, 1, 2}, true},
		{"tcp6", "[::1]:0", []int{3, 2, 1, 4, 1, 2, 1, 2, 3}, false},
		{"tcp6", "[::1]:0", []int{3, 2, 1}, true},
		{"udp6", "[::1]:0", []int{3, 2, 4, 3, 2, 4, 2, 2, 3}, false},
		{"udp6", "[::1]:0", []int{4, 2, 3, 2, 4, 2, 2, 3}, true},
		{"udp", "127.0.0.1:0", []int{3, 2, 4}, false},
		{"udp", "127.0.0.1:0", []int{4, 2, 3}, true},
	} {
		sizes := test.sizes[:testnet.Rounds(len(test.sizes), min(len(test.sizes), 3))]
		t.Run(fmt.Sprintf("%s %d backward %v", test.network, sizes, test.backward), func(t *testing.T) {
			lossless(t, func(drain bool) (lost int) {
				answered, lost := replaceShards(t, test.network, test.address, sizes, drain, test.backward)
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
func replaceShards(t *testing.T, network, address string, sizes []int, drain, backward bool) (answered, lost int) {
	t.Helper()
	old, address := serveShard(t, network, address, sizes[0], backward)
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
		next, _ := serveShard(t, network, address, size, backward)
		if drain {
			ctx, cancel := context.WithTimeout(context.Background(), guard)
			err := handover.DrainAll(ctx, old.socks...)
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

// Sockets of several ports are replaced together under load, by more and by fewer.
func TestDrainAllMix(t *testing.T) {
	t.Parallel()
	needDrain(t)
	places := []struct {
		network, address string
		sizes            [2]int
	}{
		{"tcp", "127.0.0.1:0", [2]int{2, 1}},
		{"tcp", "127.0.0.1:0", [2]int{1, 2}},
		{"tcp", ":0", [2]int{3, 2}}, // IPv4 and IPv6
		{"udp6", "[::1]:0", [2]int{2, 2}},
	}
	for _, backward := range []bool{false, true} {
		t.Run(fmt.Sprint("backward ", backward), func(t *testing.T) {
			lossless(t, func(drain bool) (lost int) {
				var addresses []string
				var old, next []shardServer
				var loads []shardLoad
				serve := func(generation int) (shards []shardServer) {
					for i, p := range places {
						address := p.address
						if len(addresses) > i {
							address = addresses[i]
						}
						s, at := serveShard(t, p.network, address, p.sizes[generation%2], backward)
						if len(addresses) == i {
							addresses = append(addresses, at)
						}
						shards = append(shards, s)
					}
					if backward {
						slices.Reverse(shards)
					}
					return shards
				}
				old = serve(0)
				step := make(chan struct{}, 1)
				for i, p := range places {
					loads = append(loads, newShardLoad(t, p.network, addresses[i], func() {
						select {
						case step <- struct{}{}:
						default:
						}
					}))
				}
				for generation := range testnet.Rounds(6, 1) {
					for range 100 {
						<-step
					}
					next = serve(generation + 1)
					var socks []handover.Drainable
					for _, s := range old {
						socks = append(socks, s.socks...)
					}
					if drain {
						ctx, cancel := context.WithTimeout(context.Background(), guard)
						if err := handover.DrainAll(ctx, socks...); err != nil {
							t.Error(err)
						}
						cancel()
					}
					for _, s := range old {
						s.close(false)
					}
					old = next
					if !drain {
						break // a client that has lost a datagram asks no more
					}
				}
				for _, load := range loads {
					load.stop(drain)
				}
				for _, s := range old {
					s.close(true)
				}
				answered := 0
				for _, load := range loads {
					a, l := load.counts()
					answered, lost = answered+a, lost+l
				}
				t.Logf("drained %v: %d answered, %d lost", drain, answered, lost)
				return lost
			})
		})
	}
}

// Of several UDP sockets the last ones would get what those before them leave, if there
// is one other only: all serve on, and can be drained one after the other.
func TestDrainAllOneUDP(t *testing.T) {
	needDrain(t)
	address := "[::1]:0"
	var all []*handover.PacketConn
	for range 3 {
		pc, err := handover.ListenPacket("udp6", address)
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		address = pc.LocalAddr().String()
		all = append(all, pc)
	}
	if err := handover.DrainAll(t.Context(), all[0], all[1]); err == nil || !strings.Contains(err.Error(), "one after the other") {
		t.Errorf("%v does not tell what to do", err)
	}
	for i, pc := range all[:2] {
		if got := datagrams(t, address, all...); got[i] == 0 {
			t.Errorf("%v datagrams arrive", got)
		}
		if err := pc.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if got := datagrams(t, address, all[i:]...); got[0] > 0 {
			t.Errorf("drained, %v datagrams arrive", got)
		}
		if err := pc.Close(); err != nil {
			t.Error(err)
		}
	}
}

// datagrams sends a hundred, from ports of their own, and returns how many each socket
// gets.
func datagrams(t testing.TB, address string, pcs ...*handover.PacketConn) []int {
	t.Helper()
	const n = 100
	for range n {
		conn, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	got, all := make([]int, len(pcs)), 0
	for deadline := time.Now().Add(guard); all < n && time.Now().Before(deadline); {
		for i, pc := range pcs {
			for readable(pc) {
				if _, _, err := pc.ReadFrom(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				got[i]++
				all++
			}
		}
	}
	if all < n {
		t.Errorf("%v of %d datagrams arrive", got, n)
	}
	return got
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

// serveShard opens n sockets, which answer until they are closed: the last one first if
// backward.
func serveShard(t *testing.T, network, address string, n int, backward bool) (s shardServer, at string) {
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
		s.socks = lns
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
		s.socks = pcs
	}
	if backward {
		slices.Reverse(closers)
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
