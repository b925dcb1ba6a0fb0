package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// held is a handler whose answers wait, before or after their heads, until released.
func held(afterHead bool) (handler http.HandlerFunc, entered chan struct{}, release chan struct{}) {
	entered, release = make(chan struct{}, 10), make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if afterHead {
			w.Write([]byte("begin "))
			http.NewResponseController(w).Flush()
		}
		entered <- struct{}{}
		<-release
		io.WriteString(w, "end")
	}, entered, release
}

// An answer that has begun before Shutdown is completed, and its connection has one
// more request, which is told. With http.Server.Shutdown, the control, a request that
// follows such an answer is lost, if the answer could not say close.
func TestAnswerUnderWay(t *testing.T) {
	t.Parallel()
	g := subtests{t: t}
	defer g.Wait()
	for _, afterHead := range []bool{false, true} {
		for _, control := range []bool{false, true} {
			g.run(fmt.Sprintf("after its head %v, control %v", afterHead, control), func(t *testing.T) {
				both(t, func(t *testing.T, secure bool) {
					handler, entered, release := held(afterHead)
					s := serveTest(t, secure, handler, nil)
					c := s.dial(t)
					io.WriteString(c, testRequest)
					<-entered
					done := s.stop(t.Context(), control)
					select {
					case err := <-done:
						t.Errorf("Shutdown does not wait for an answer: %v", err)
					default:
					}
					close(release)
					resp, err := c.answer()
					if err != nil {
						t.Fatalf("an answer under way: %v", err)
					}
					if control {
						if _, err := c.ask(); err == nil {
							t.Error("control: the next request is answered")
						}
						if err := result(t, done); err != nil {
							t.Errorf("control: %v", err)
						}
						if resp.Close == afterHead {
							t.Errorf("control: told %v, after its head %v", resp.Close, afterHead)
						}
						return
					}
					c.told(t)
					c.Close()
					if err := result(t, done); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// When ctx ends, Shutdown counts answers under way, and leaves them alone. Another one
// waits for them.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, secure bool) {
		handler, entered, release := held(true)
		s := serveTest(t, secure, handler, func(s *HTTPServer) { s.times.linger = briefly })
		clients := []*testClient{s.dial(t), s.dial(t)}
		for _, c := range clients {
			io.WriteString(c, testRequest)
			<-entered
		}
		silent := s.dial(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		done := s.stop(ctx, false)
		waits := make(chan error, 1)
		go func() { waits <- s.Shutdown(context.Background()) }()
		cause := errors.New("no more time")
		cancel(cause)
		err := result(t, done)
		if got := counts(t, err); got != (ShutdownError{Cut: 2, Untold: 1}) || !errors.Is(err, cause) {
			t.Errorf("%+v, %v", got, err)
		}
		if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		silent.Close()
		close(release)
		for _, c := range clients {
			if resp, err := c.answer(); err != nil || resp.Close {
				t.Errorf("an answer under way: %+v, %v", resp, err)
			}
			c.Close()
		}
		// These were not told, since the heads of their answers were out.
		err = result(t, waits)
		if got := counts(t, err); got != (ShutdownError{Untold: 3}) {
			t.Errorf("another Shutdown: %v", err)
		}
	})
}

// Shutdown closes idle connections so early before ctx's deadline that clients can
// answer, and returns nil if they close theirs.
func TestShutdownDeadline(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, secure bool) {
		s := serveTest(t, secure, hello, nil)
		c, late := s.dial(t), s.dial(t)
		c.untold(t)
		ctx, cancel := context.WithTimeout(t.Context(), 80*briefly)
		defer cancel()
		done := s.stop(ctx, false)
		c.ended(t)
		if ctx.Err() != nil {
			t.Error("closed at the end of the context")
		}
		c.Close()
		late.Close()
		if err := result(t, done); err != nil {
			t.Error(err)
		}
	})
}

// A context that has ended stops the server at once, and what it does not save is
// counted.
func TestContextEnded(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, hello, nil)
	c := s.dial(t)
	c.untold(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := result(t, s.stop(ctx, false))
	if got := counts(t, err); got != (ShutdownError{Untold: 1}) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

// The server's own limits for idle connections do not close one while Shutdown waits
// for its next request.
func TestOwnLimits(t *testing.T) {
	t.Parallel()
	g := subtests{t: t}
	defer g.Wait()
	for name, set := range map[string]func(*http.Server, time.Duration){
		"IdleTimeout":       func(srv *http.Server, d time.Duration) { srv.IdleTimeout = d },
		"ReadTimeout":       func(srv *http.Server, d time.Duration) { srv.ReadTimeout = d },
		"ReadHeaderTimeout": func(srv *http.Server, d time.Duration) { srv.ReadHeaderTimeout = d },
	} {
		g.run(name, func(t *testing.T) {
			both(t, func(t *testing.T, secure bool) {
				s := serveTest(t, secure, hello, func(s *HTTPServer) { set(s.Server, 20*briefly) })
				c, control := s.dial(t), serveTest(t, secure, hello, func(s *HTTPServer) { set(s.Server, 20*briefly) }).dial(t)
				first := s.dial(t)
				c.untold(t)
				control.untold(t)
				done := s.stop(t.Context(), false)
				if name == "ReadHeaderTimeout" { // that is for requests that have begun
					if _, err := io.WriteString(control, testHead); err != nil {
						t.Error(err)
					}
				}
				control.ended(t)
				c.told(t)
				first.told(t)
				c.Close()
				first.Close()
				if err := result(t, done); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
