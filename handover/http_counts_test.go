package handover

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Clients that pause, some for longer than IdleGrace, and that do not look whether
// their connection is closed before they send the next request, lose as many requests
// as Shutdown counts. The control, http.Server.Shutdown, returns nil, and loses more.
func TestCountsAreLosses(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, secure bool) {
		lose := func(control bool) (lost int64, err error) {
			s := serveTest(t, secure, hello, func(s *HTTPServer) { s.IdleGrace = 4 * briefly })
			var failed atomic.Int64
			var running, begun sync.WaitGroup
			for range 40 {
				c := s.dial(t)
				begun.Add(1)
				running.Go(func() {
					for i := 0; ; i++ {
						told, err := c.ask()
						if i == 0 {
							begun.Done()
						}
						if err != nil {
							failed.Add(1)
						}
						if err != nil || told {
							c.Close()
							return
						}
						time.Sleep(rand.N(10 * briefly))
					}
				})
			}
			begun.Wait()
			done := s.stop(t.Context(), control)
			err = result(t, done)
			running.Wait()
			return failed.Load(), err
		}
		lost, err := lose(false)
		if got := counts(t, err); lost == 0 || got != (ShutdownError{Crossed: int(lost)}) {
			t.Errorf("%d lost, counted %+v", lost, got)
		}
		ours := lost
		if lost, err = lose(true); err != nil || lost <= ours {
			t.Errorf("control: %d lost, and %d with IdleGrace; error %v", lost, ours, err)
		}
	})
}

// No time that users cannot set is another than documentation says.
func TestDefaultTimes(t *testing.T) {
	t.Parallel()
	want := httpTimes{
		idle: 15 * time.Second, fresh: 5 * time.Second, head: 10 * time.Second, linger: 5 * time.Second,
		last: 600 * time.Millisecond, glance: 50 * time.Millisecond,
	}
	s := &HTTPServer{}
	s.Draining()
	if s.times != want {
		t.Errorf("%+v, want %+v", s.times, want)
	}
	for _, test := range []struct{ own, idle, read, want time.Duration }{
		{0, 0, 0, 15 * time.Second},
		{0, -1, -1, 15 * time.Second},
		{0, 0, 2, 2},
		{0, 3, 2, 3},
		{1, 3, 2, 1},
	} {
		s := serveTest(t, false, hello, func(s *HTTPServer) {
			s.IdleGrace, s.times = test.own, defaultHTTPTimes()
			s.IdleTimeout, s.ReadTimeout = test.idle, test.read
		})
		if got := s.grace(); got != test.want {
			t.Errorf("IdleGrace %v, IdleTimeout %v, ReadTimeout %v: %v, want %v", test.own, test.idle, test.read, got, test.want)
		}
	}
}
