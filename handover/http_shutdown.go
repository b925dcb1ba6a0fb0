package handover

import (
	"context"
	"errors"
	"net/http"
)

// A shutdown is a run of Shutdown.
type shutdown struct {
	done  chan struct{}
	err   error
	again bool // its context ended while there was something to wait for
}

// Shutdown hands the server's listeners over to others at their addresses, tells
// clients to close their connections, and stops the server. Where nobody else
// listens it does the same, and closes a listener when its queue is empty.
//
// It does so in this order:
//
//  1. It steers new connections to the others. After an error the server serves on.
//  2. It closes the channel that Draining returns, and calls the functions that
//     were registered.
//  3. From now on answers of HTTP/1 have the header "Connection: close". Clients of
//     HTTP/2 get a GOAWAY that refuses no request, and another one when they know of it.
//     Listeners are closed when they are drained.
//  4. It closes connections on which no request comes within IdleGrace, or 5 seconds
//     after they were accepted, or 10 seconds after the first part of a request.
//     Of these, Shutdown closes the writing side and waits for 5 seconds for
//     the client to close the other.
//
// Only ctx and the server's WriteTimeout limit how long an answer takes. All other
// waits end by themselves. If ctx has a deadline, idle connections are closed 5 seconds
// before, or when half of the time is over, so that clients can close them in time.
// When ctx ends, Shutdown closes what is idle and returns within a second. It leaves
// connections open on which answers are under way.
//
// Shutdown returns nil if every request that the server has read is answered, but
// for those that came after an answer that said close. It returns a *[ShutdownError]
// if something was lost, or may be. Any other error means that the server serves
// on: [ErrNoSuccessor] or errors.ErrUnsupported, if NeedSuccessor is true, or another
// one of DrainAll. But if ctx ends while another Shutdown runs, the error is its cause.
//
// Connections that handlers hijacked, those of WebSockets for example, are not
// closed. Shutdown waits for IdleGrace until they are, and counts the others.
//
// A client that sends further requests before it has the answer to the first has
// to repeat them when that says close, as with every server (RFC 9112, 9.3.2).
//
// A client of HTTP/2 that does not answer the first GOAWAY within 5 seconds may send
// requests that the second refuses. They are not executed, and counted. Other
// implementations of HTTP/2 in TLSNextProto than those of net/http and
// golang.org/x/net/http2 send one GOAWAY, and nobody counts what it refuses; clients
// know, and repeat it (RFC 9113, 6.8).
//
// If another Shutdown runs, this one waits for its result. If that one's context
// ends, this one goes on. After it the server cannot be used again.
func (s *HTTPServer) Shutdown(ctx context.Context) error {
	s.init()
	for {
		run, mine := s.begin()
		if mine {
			err, again := s.shutdown(ctx)
			s.finish(run, err, again)
			return err
		}
		select {
		case <-run.done:
			if !run.again || ctx.Err() != nil {
				return run.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// begin returns the run that there is, or a new one.
func (s *HTTPServer) begin() (run *shutdown, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		return s.run, false
	}
	s.run = &shutdown{done: make(chan struct{})}
	return s.run, true
}

func (s *HTTPServer) finish(run *shutdown, err error, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run.err, run.again = err, again
	if again || s.stage.Load() == stageServing {
		s.run = nil
	}
	close(run.done)
}

func (s *HTTPServer) shutdown(ctx context.Context) (err error, again bool) {
	d, err := s.leave(ctx)
	if err != nil {
		return err, false
	}
	lost := s.letGo(ctx, d)
	again = lost.Cut > 0
	if !again {
		s.Server.Close()
	}
	if s.closed.Load() {
		d.errs = append(d.errs, http.ErrServerClosed)
	}
	lost.Err = errors.Join(d.errs...)
	if !lost.lost() {
		return nil, false
	}
	if ctx.Err() != nil && lost.Err == nil {
		lost.Err = context.Cause(ctx)
	}
	return lost, again
}

// leave steers new connections away, and begins to tell clients.
func (s *HTTPServer) leave(ctx context.Context) (*departure, error) {
	s.gating.Lock()
	defer s.gating.Unlock()
	if s.stage.Load() != stageServing { // an earlier Shutdown has left
		return s.depart(ctx, nil), nil
	}
	d, err := s.steer(ctx)
	if err != nil {
		return nil, err
	}
	s.stage.Store(stageTelling)
	close(s.draining)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.onDrain {
		go f()
	}
	return d, nil
}

// Close is that of http.Server. A Shutdown that runs returns an error.
func (s *HTTPServer) Close() error {
	s.closed.Store(true)
	return s.Server.Close()
}
