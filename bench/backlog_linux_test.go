package bench_test

import (
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// BenchmarkAccept takes the CPU time of Accept from a queue that is full of
// connections, in turn with that of a listener of net.Listen, and reports the
// median per connection, and the median and the quartiles of the quotients. A
// listener of net.Listen itself is the control.
func BenchmarkAccept(b *testing.B) {
	for _, w := range acceptWays() {
		b.Run(w.name, func(b *testing.B) { benchmarkAccept(b, w) })
	}
}

// acceptWays are the ways to open a listener, other than in C, where accepting is
// another program's, and package handover.
func acceptWays() []way[net.Listener] {
	ways := slices.DeleteFunc(listenWays(), func(w way[net.Listener]) bool { return w.name == "C" })
	return append(ways, way[net.Listener]{"handover", func(network, address string) (net.Listener, error) {
		return handover.Listen(network, address)
	}})
}

// queued is how many connections wait to be accepted. The kernel's default for
// the most is 4096 (net.core.somaxconn).
const queued = 1000

func benchmarkAccept(b *testing.B, w way[net.Listener]) {
	testnet.Namespace(b)
	allowFiles(b, 2*queued+100)
	counts, countErr := countSystemCalls(accept(w.name+"-accept", w.open))
	if countErr != nil && !errors.Is(countErr, errNoStrace) {
		b.Fatal(countErr)
	}
	theirs, err := net.Listen("tcp4", emptyAddress)
	if err != nil {
		b.Fatal(err)
	}
	defer theirs.Close()
	ours, err := w.open("tcp4", address)
	if err != nil {
		b.Fatal(err)
	}
	defer ours.Close()
	acceptAll(b, theirs)
	acceptAll(b, ours)

	var own, shares []float64
	for b.Loop() {
		var with, without float64
		if len(own)%2 == 0 {
			without, with = acceptAll(b, theirs), acceptAll(b, ours)
		} else {
			with, without = acceptAll(b, ours), acceptAll(b, theirs)
		}
		own, shares = append(own, with), append(shares, with/without)
	}
	b.ReportMetric(0, "ns/op") // of a pair and its connections, which means nothing
	if countErr == nil {
		b.ReportMetric(float64(counts["setsockopt"])/tracedRuns, "setsockopt/accept")
	}
	b.ReportMetric(quantile(own, 0.5), "cpu-ns/accept")
	b.ReportMetric(quantile(shares, 0.25), "q1-times-net")
	b.ReportMetric(quantile(shares, 0.5), "times-net")
	b.ReportMetric(quantile(shares, 0.75), "q3-times-net")
}

// acceptAll fills the queue of ln, and returns the nanoseconds of CPU that this
// thread takes to accept a connection.
func acceptAll(b *testing.B, ln net.Listener) float64 {
	b.Helper()
	to := &unix.SockaddrInet4{Port: ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for range queued {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(os.NewSyscallError("socket", err))
		}
		defer unix.Close(fd)
		// Reset at the end, so that nothing stays in TIME_WAIT and the ports
		// last.
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			b.Fatal(os.NewSyscallError("setsockopt SO_LINGER", err))
		}
		for err = unix.EINTR; err == unix.EINTR; {
			err = unix.Connect(fd, to)
		}
		if err != nil && err != unix.EISCONN {
			b.Fatal(os.NewSyscallError("connect", err))
		}
		// fasthttp sets TCP_DEFER_ACCEPT, with which only a client that has
		// sent something is accepted.
		if _, err := unix.Write(fd, []byte("x")); err != nil {
			b.Fatal(os.NewSyscallError("write", err))
		}
	}
	runtime.GC() // not in between
	conns := make([]net.Conn, queued)
	begin := threadTime(b)
	for i := range conns {
		var err error
		if conns[i], err = ln.Accept(); err != nil {
			b.Fatal(err)
		}
	}
	took := threadTime(b) - begin
	for _, conn := range conns {
		conn.Close()
	}
	return float64(took.Nanoseconds()) / queued
}

// threadTime returns the CPU time of this thread. The caller stays on it.
func threadTime(b *testing.B) time.Duration {
	b.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		b.Fatal(os.NewSyscallError("clock_gettime", err))
	}
	return time.Duration(now.Nano())
}
