package bench_test

import (
	"crypto/tls"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"

	"example.com/reuse/handover"
	"golang.org/x/sys/unix"
)

// An httpBench is a server of HTTP, and a client that asks again and again.
type httpBench struct {
	srv interface{ Close() error }
	ask func() error
}

var httpKinds = []string{"plain", "TLS", "HTTP2"}

// newHTTPBench serves by handover.HTTPServer, or by http.Server alone.
func newHTTPBench(t testing.TB, kind string, ours bool) *httpBench {
	t.Helper()
	ln, err := handover.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answer := []byte("hello")
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(answer) })}
	b := &httpBench{srv: srv}
	serve, serveTLS := srv.Serve, srv.ServeTLS
	if ours {
		h := &handover.HTTPServer{Server: srv}
		b.srv, serve, serveTLS = h, h.Serve, h.ServeTLS
	}
	if kind == "plain" {
		go serve(ln)
	} else {
		certified := httptest.NewUnstartedServer(nil)
		certified.StartTLS()
		defer certified.Close()
		srv.TLSConfig = &tls.Config{Certificates: certified.TLS.Certificates}
		go serveTLS(ln, "", "")
	}
	t.Cleanup(func() { b.srv.Close() })
	if kind == "HTTP2" {
		client := &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
		t.Cleanup(client.CloseIdleConnections)
		b.ask = func() error {
			resp, err := client.Get("https://" + ln.Addr().String())
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		}
		return b
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if kind == "TLS" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	// Little of the client's: an answer is read in one piece.
	request, buf := []byte("GET / HTTP/1.1\r\nHost: here\r\n\r\n"), make([]byte, 4096)
	b.ask = func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		_, err := conn.Read(buf)
		return err
	}
	return b
}

// times asks n times, and returns the CPU time and the allocations of a request, of
// the client as well.
func (b *httpBench) times(t testing.TB, n int) (nanoseconds, allocations float64) {
	t.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := processTime(t)
	for range n {
		if err := b.ask(); err != nil {
			t.Fatal(err)
		}
	}
	end := processTime(t)
	runtime.ReadMemStats(&after)
	return (end - begin) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)
}

// processTime returns the nanoseconds of CPU that this process has taken.
func processTime(t testing.TB) float64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		t.Fatal(os.NewSyscallError("clock_gettime", err))
	}
	return float64(ts.Nano())
}

// A request costs as many allocations with handover.HTTPServer as without. A handler
// that allocates once shows that they are counted.
func TestHTTPAllocations(t *testing.T) {
	for _, kind := range httpKinds {
		count := func(ours bool) float64 {
			b := newHTTPBench(t, kind, ours)
			b.times(t, 200)
			_, allocations := b.times(t, 2000)
			return math.Round(allocations)
		}
		if got, want := count(true), count(false); got > want {
			t.Errorf("%s: %v allocations, without HTTPServer %v", kind, got, want)
		}
	}
	b := newHTTPBench(t, "plain", false)
	_, want := b.times(t, 2000)
	ask := b.ask
	b.ask = func() error {
		kept = new([64]byte)
		return ask()
	}
	if _, got := b.times(t, 2000); math.Round(got) <= math.Round(want) {
		t.Errorf("control: %v allocations, and %v with one more", want, got)
	}
}

var kept any

// BenchmarkHTTP takes the CPU time of requests on one connection, answered by
// handover.HTTPServer, in turn with that of requests answered by http.Server alone.
// It reports the median per request, and the median and the quartiles of the
// quotients. Net is http.Server against itself, the control.
func BenchmarkHTTP(b *testing.B) {
	for _, kind := range httpKinds {
		for _, way := range []string{"net", "handover"} {
			b.Run(kind+"/"+way, func(b *testing.B) {
				theirs, ours := newHTTPBench(b, kind, false), newHTTPBench(b, kind, way == "handover")
				const n = 2000
				theirs.times(b, n)
				ours.times(b, n)
				var own, shares []float64
				var allocations, others float64
				for b.Loop() {
					var with, without float64
					if len(own)%2 == 0 {
						without, others = theirs.times(b, n)
						with, allocations = ours.times(b, n)
					} else {
						with, allocations = ours.times(b, n)
						without, others = theirs.times(b, n)
					}
					own, shares = append(own, with), append(shares, with/without)
				}
				b.ReportMetric(0, "ns/op") // of a pair and its requests, which means nothing
				b.ReportMetric(quantile(own, 0.5), "cpu-ns/request")
				b.ReportMetric(math.Round(allocations)-math.Round(others), "more-allocs/request")
				b.ReportMetric(quantile(shares, 0.25), "q1-times-net")
				b.ReportMetric(quantile(shares, 0.5), "times-net")
				b.ReportMetric(quantile(shares, 0.75), "q3-times-net")
			})
		}
	}
}
