package bench_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/group"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/shard"
)

// workers is how many serve, one connection at a time each.
const workers = 8

// BenchmarkQueues takes the time that connections take to be answered, by eight
// workers with a listener each, in turn with eight that accept from one, at 70% of
// the load that they can bear. One in ten connections takes ten times as long as
// the others. It reports the medians of the 99th percentiles, and their quotients.
// Two runs of the shared queue are the control.
//
// To work is to sleep, and clients come at random (a Poisson process) whether
// others were answered or not. So it is a matter of queues alone.
func BenchmarkQueues(b *testing.B) {
	for _, w := range []struct {
		name string
		open func(b *testing.B) []*net.TCPListener
	}{
		{"shared", openShared},
		{"shard", func(b *testing.B) []*net.TCPListener {
			lns, err := shard.Listen("tcp4", "127.0.0.1:0", workers)
			if err != nil {
				b.Fatal(err)
			}
			return lns
		}},
	} {
		b.Run(w.name, func(b *testing.B) {
			var p50, p99, base, shares []float64
			for b.Loop() {
				theirs := answered(b, openShared)
				ours := answered(b, w.open)
				p50 = append(p50, quantile(ours, 0.5))
				p99 = append(p99, quantile(ours, 0.99))
				base = append(base, quantile(theirs, 0.99))
				shares = append(shares, quantile(ours, 0.99)/quantile(theirs, 0.99))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(quantile(p50, 0.5), "p50-ms")
			b.ReportMetric(quantile(p99, 0.5), "p99-ms")
			b.ReportMetric(quantile(base, 0.5), "shared-p99-ms")
			b.ReportMetric(quantile(shares, 0.25), "q1-times-shared")
			b.ReportMetric(quantile(shares, 0.5), "times-shared")
			b.ReportMetric(quantile(shares, 0.75), "q3-times-shared")
		})
	}
}

// openShared opens one listener, for all workers.
func openShared(b *testing.B) []*net.TCPListener {
	ln, err := reuse.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	lns := make([]*net.TCPListener, workers)
	for i := range lns {
		lns[i] = ln.(*net.TCPListener)
	}
	return lns
}

// answered returns the milliseconds that each connection took.
func answered(b *testing.B, open func(*testing.B) []*net.TCPListener) (took []float64) {
	b.Helper()
	const (
		connections = 1500
		short, long = 8 * time.Millisecond, 80 * time.Millisecond
		work        = (9*short + long) / 10
		load        = 0.7
	)
	lns := open(b)
	var serving, asking sync.WaitGroup
	for _, ln := range lns {
		serving.Go(func() {
			for i := 0; ; i++ {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				if rand.IntN(10) == 0 {
					time.Sleep(long)
				} else {
					time.Sleep(short)
				}
				conn.Close()
			}
		})
	}
	var mu sync.Mutex
	between := float64(work) / (workers * load)
	next := time.Now()
	for range connections {
		next = next.Add(time.Duration(rand.ExpFloat64() * between))
		time.Sleep(time.Until(next))
		asking.Go(func() {
			begin := time.Now()
			conn, err := net.Dial("tcp4", lns[0].Addr().String())
			if err != nil {
				b.Error(err)
				return
			}
			conn.Read(make([]byte, 1)) // until it is closed
			conn.Close()
			mu.Lock()
			defer mu.Unlock()
			took = append(took, float64(time.Since(begin))/float64(time.Millisecond))
		})
	}
	asking.Wait()
	for _, ln := range lns {
		ln.Close()
	}
	serving.Wait()
	return took
}

// BenchmarkStopped counts the clients that wait in vain where one of eight workers
// is stuck: those in the queue that nobody accepts from. With a shared queue that
// is nobody, after the one that the stuck worker has.
func BenchmarkStopped(b *testing.B) {
	testnet.Namespace(b)
	const clients = 4000
	allowFiles(b, 2*clients+100)
	for b.Loop() {
		lns, err := shard.Listen("tcp4", address, workers)
		if err != nil {
			b.Fatal(err)
		}
		var conns []net.Conn
		for range clients {
			conn, err := net.Dial("tcp4", address)
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, conn)
		}
		c, err := lns[0].SyscallConn()
		if err != nil {
			b.Fatal(err)
		}
		stuck, err := group.Open(c)
		if err != nil {
			b.Fatal(err)
		}
		waiting, err := stuck.Queue()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(100*float64(waiting)/clients, "%-hanging")
		for _, conn := range conns {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
		for _, ln := range lns {
			ln.Close()
		}
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkBalance counts the connections at each of eight listeners, of 20,000
// from as many ports, and reports the most divided by the least.
func BenchmarkBalance(b *testing.B) {
	testnet.Namespace(b)
	const connections = 20_000
	for b.Loop() {
		lns, err := shard.Listen("tcp4", address, workers)
		if err != nil {
			b.Fatal(err)
		}
		var socks []*group.Socket
		for _, ln := range lns {
			c, err := ln.SyscallConn()
			if err != nil {
				b.Fatal(err)
			}
			s, err := group.Open(c)
			if err != nil {
				b.Fatal(err)
			}
			socks = append(socks, s)
		}
		counts := make([]float64, workers)
		for i := range connections {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10_000 + i}}
			conn, err := dialer.Dial("tcp4", address)
			if err != nil {
				b.Fatal(err)
			}
			for i, s := range socks {
				length, err := s.Queue()
				if err != nil {
					b.Fatal(err)
				}
				if length > 0 {
					counts[i]++
					accepted, err := lns[i].Accept()
					if err != nil {
						b.Fatal(err)
					}
					accepted.(*net.TCPConn).SetLinger(0)
					accepted.Close()
				}
			}
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
		for _, ln := range lns {
			ln.Close()
		}
		b.ReportMetric(quantile(counts, 1)/quantile(counts, 0), "max/min")
	}
	b.ReportMetric(0, "ns/op")
}
