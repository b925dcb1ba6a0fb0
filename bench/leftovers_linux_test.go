package bench_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// leftovers are how many connections a former listener leaves behind.
var leftovers = []int{1000, 9000}

// emptyAddress has none. It needs no namespace of its own: the kernel lists the
// sockets of every port apart, and bind looks at those of its own port only
// (Linux: inet_csk_get_port, inet_csk_bind_conflict).
const emptyAddress = "127.0.0.1:9998"

// A server restarts over the connections of its former run, which opened its
// listener in the same way. (SO_REUSEPORT is fast because the former run had it
// too. Over the connections of one that had not, the first bind looks at all of
// them, as every net.Listen does.)
func BenchmarkLeftovers(b *testing.B) {
	for _, state := range []testnet.State{testnet.Established, testnet.TimeWait} {
		for _, n := range leftovers {
			b.Run(fmt.Sprintf("%v=%d", state, n), func(b *testing.B) {
				for _, w := range listenWays() {
					b.Run(w.name, func(b *testing.B) { benchmarkLeftovers(b, w, state, n) })
				}
			})
		}
	}
}

func benchmarkLeftovers(b *testing.B, w way[net.Listener], state testnet.State, leftovers int) {
	testnet.Namespace(b)
	allowFiles(b, 2*uint64(leftovers)+100)
	leave(b, w, state, leftovers)
	timed := func(address string) float64 {
		start := time.Now()
		if err := w.openAndClose("tcp4", address); err != nil {
			b.Fatal(err)
		}
		return float64(time.Since(start).Nanoseconds())
	}
	timed(emptyAddress)
	timed(address)

	// Whatever slows the machine down for a while slows both of a pair. Each
	// is the first of its pair every other time.
	var none, some, times []float64
	for b.Loop() {
		var without, with float64
		if len(times)%2 == 0 {
			without, with = timed(emptyAddress), timed(address)
		} else {
			with, without = timed(address), timed(emptyAddress)
		}
		none, some, times = append(none, without), append(some, with), append(times, with/without)
	}
	if n := leftIn(b, state); n != leftovers {
		b.Fatalf("at the end %d connections are in %v, want %d: a shorter -benchtime helps", n, state, leftovers)
	}
	b.ReportMetric(0, "ns/op") // of a pair, which means nothing
	b.ReportMetric(quantile(none, 0.5), "none-ns/op")
	b.ReportMetric(quantile(some, 0.5), "leftovers-ns/op")
	b.ReportMetric(quantile(times, 0.5), "times-none")
	b.ReportMetric(quantile(times, 0.25), "q1-times-none")
	b.ReportMetric(quantile(times, 0.75), "q3-times-none")
}

// quantile sorts values.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}

// leave opens a listener in the way w, accepts all connections that are to be
// left over, closes the listener, and brings them into state.
func leave(t testing.TB, w way[net.Listener], state testnet.State, leftovers int) {
	t.Helper()
	ln, err := w.open("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for i := range leftovers {
		// Were the kernel to choose the client's port, it could choose one
		// twice, and the second connection would take the place of the first
		// one's TIME_WAIT.
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10000 + i}}
		client, err := dialer.Dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		// fasthttp sets TCP_DEFER_ACCEPT, with which only a client that has
		// sent something is accepted.
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if state != testnet.TimeWait {
			continue
		}
		// Who closes first is the one to wait.
		server.Close()
		if n, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("read %d bytes, %v, want io.EOF", n, err)
		}
		client.Close()
	}
	var n int
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if n = leftIn(t, state); n == leftovers {
			return
		}
	}
	t.Fatalf("%d connections are in %v, want %d", n, state, leftovers)
}

// leftIn returns how many of the former listener's connections are in state.
func leftIn(t testing.TB, state testnet.State) (n int) {
	t.Helper()
	for _, s := range testnet.Sockets(t) {
		if s.Local == netip.MustParseAddrPort(address) && s.State == state {
			n++
		}
	}
	return n
}

// allowFiles raises the limit of open files, if it is below n.
func allowFiles(t testing.TB, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	limit.Cur, limit.Max = n, max(n, limit.Max)
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs %d open files: setrlimit: %v", n, err)
	}
	if err != nil {
		t.Fatal(err)
	}
}
