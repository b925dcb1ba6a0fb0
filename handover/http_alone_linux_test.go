package handover

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Where nobody else listens, Shutdown answers whoever could connect, and returns nil.
// The control, http.Server.Shutdown, closes the listener over its queue.
func TestShutdownNobodyElse(t *testing.T) {
	t.Parallel()
	stopped := func(control bool) (answered, lost int64) {
		ln, err := Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := serveTestOn(t, ln, false, hello, func(s *HTTPServer) { s.times, s.IdleGrace = httpTimes{}, time.Second })
		var ok, failed atomic.Int64
		warm := make(chan struct{})
		var clients sync.WaitGroup
		for range 16 {
			clients.Go(func() {
				for {
					conn, err := net.Dial("tcp", s.addr)
					if err != nil {
						return // nobody listens any more
					}
					conn.SetDeadline(time.Now().Add(patience))
					io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
					answer, _ := io.ReadAll(conn)
					conn.Close()
					if !strings.HasPrefix(string(answer), "HTTP/1.0 200") {
						failed.Add(1)
					} else if ok.Add(1) == 200 {
						close(warm)
					}
				}
			})
		}
		<-warm
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		shutdown := s.Shutdown
		if control {
			shutdown = s.Server.Shutdown
		}
		if err := shutdown(ctx); err != nil {
			t.Error(err)
		}
		clients.Wait()
		return ok.Load(), failed.Load()
	}
	for range 3 {
		if answered, lost := stopped(false); lost > 0 {
			t.Errorf("%d of %d lost", lost, answered+lost)
		}
	}
	for range 50 {
		if _, lost := stopped(true); lost > 0 {
			return
		}
	}
	t.Error("control: none lost in 50 stops")
}
