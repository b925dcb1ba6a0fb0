package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// Handlers that last, and connections that were hijacked, learn from Draining when
// to end, and so do functions that are registered, while answers are under way. The
// control is http.Server.Shutdown, which knows no hijacked connections.
func TestDraining(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var s *testServer
	s = serveTest(t, false, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/ws" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, "hijacked\n")
			<-s.Draining()
			io.WriteString(conn, "going\n")
			return
		}
		http.NewResponseController(w).Flush()
		<-release
	}, nil)
	s.RegisterOnShutdown(func() { close(release) })
	ws, sse := s.dial(t), s.dial(t)
	io.WriteString(ws, "GET /ws HTTP/1.1\r\nHost: here\r\n\r\n")
	if line, err := ws.in.ReadString('\n'); line != "hijacked\n" {
		t.Fatal(line, err)
	}
	io.WriteString(sse, testRequest)
	if _, err := sse.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	done := s.stop(t.Context(), false)
	if line, err := ws.in.ReadString('\n'); line != "going\n" {
		t.Error(line, err)
	}
	ws.ended(t)
	if _, err := sse.answer(); err != nil {
		t.Error(err)
	}
	sse.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}

// Hijacked connections that stay are counted, when IdleGrace is over or ctx ends.
func TestHijackedStays(t *testing.T) {
	t.Parallel()
	g := subtests{t: t}
	defer g.Wait()
	for _, ends := range []bool{false, true} {
		g.run(fmt.Sprint("context ends ", ends), func(t *testing.T) {
			both(t, func(t *testing.T, secure bool) {
				hijacked := make(chan io.Closer, 3)
				s := serveTest(t, secure, func(w http.ResponseWriter, r *http.Request) {
					conn, _, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					hijacked <- conn
				}, func(s *HTTPServer) {
					if !ends {
						s.IdleGrace = briefly
					}
				})
				for i := range 3 {
					io.WriteString(s.dial(t), testRequest)
					if c := <-hijacked; i == 0 {
						c.Close() // before Shutdown: nobody counts it
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := s.stop(ctx, false)
				if ends {
					cancel()
				}
				err := result(t, done)
				if got := counts(t, err); got != (ShutdownError{Hijacked: 2}) || errors.Is(err, context.Canceled) != ends {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// A server that hijacks forgets connections that are closed.
func TestHijackedForgotten(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, func(w http.ResponseWriter, r *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	}, nil)
	for range 200 {
		c := s.dial(t)
		io.WriteString(c, testRequest)
		c.ended(t)
		c.Close()
	}
	s.hijacked.mu.Lock()
	defer s.hijacked.mu.Unlock()
	if n := len(s.hijacked.conns); n > 100 {
		t.Errorf("%d of 200 closed connections are kept", n)
	}
}

// Two Shutdowns return the same, at the same end; one whose context ends before
// returns its cause.
func TestTwoShutdowns(t *testing.T) {
	t.Parallel()
	handler, entered, release := held(false)
	s := serveTest(t, false, handler, func(s *HTTPServer) { idleBriefly(s); s.times.linger = briefly })
	c, silent := s.dial(t), s.dial(t)
	io.WriteString(c, testRequest)
	<-entered
	done := s.stop(t.Context(), false)
	second := make(chan error, 1)
	go func() { second <- s.Shutdown(t.Context()) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	silent.ended(t)
	select {
	case err := <-done:
		t.Errorf("the first returns while an answer is under way: %v", err)
	case err := <-second:
		t.Errorf("the second returns while an answer is under way: %v", err)
	default:
	}
	close(release)
	c.answer()
	c.Close()
	for _, done := range []<-chan error{done, second} {
		if got := counts(t, result(t, done)); got != (ShutdownError{Untold: 1}) {
			t.Errorf("%+v", got)
		}
	}
}

// Close ends a Shutdown, which does not return nil.
func TestCloseWhileShutdown(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, hello, nil)
	s.dial(t).untold(t)
	done := s.stop(t.Context(), false)
	if err := s.HTTPServer.Close(); err != nil {
		t.Error(err)
	}
	if err := result(t, done); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Shutdown: %v", err)
	}
}

// SetKeepAlivesEnabled(false) tells clients, and closes nothing under their hands. The
// control is http.Server's.
func TestKeepAlivesDisabled(t *testing.T) {
	t.Parallel()
	for _, control := range []bool{false, true} {
		s := serveTest(t, false, hello, nil)
		c := s.dial(t)
		c.untold(t)
		if control {
			s.Server.SetKeepAlivesEnabled(false)
			if _, err := c.ask(); err == nil {
				t.Error("control: an idle connection is open")
			}
			continue
		}
		s.SetKeepAlivesEnabled(false)
		c.told(t)
		s.SetKeepAlivesEnabled(true)
		s.dial(t).untold(t)
	}
}

// Clients that send requests without waiting for answers do not keep Shutdown from
// its end.
func TestPipelining(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, hello, nil)
	clients := []*testClient{s.dial(t), s.dial(t)}
	for _, c := range clients {
		c.untold(t)
		go func() {
			for {
				if _, err := io.WriteString(c, testRequest+testRequest+testRequest); err != nil {
					return
				}
			}
		}()
	}
	done := s.stop(t.Context(), false)
	for _, c := range clients {
		for {
			resp, err := c.answer()
			if err != nil {
				t.Fatalf("before an answer that says close: %v", err)
			}
			if resp.Close {
				break
			}
		}
	}
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}
