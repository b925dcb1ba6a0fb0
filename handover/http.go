package handover

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// An HTTPServer knows the connections of an http.Server.
type HTTPServer struct {
	// IdleGrace is how long Shutdown waits for the next request on a connection
	// that is kept alive, to tell the client by its answer. A client that sends one
	// at the very moment at which that time is over loses it, as ever with a
	// server that closes idle connections. If it is 0, it is half a second.
	IdleGrace time.Duration

	srv      *http.Server
	draining atomic.Bool

	mu       sync.Mutex
	conns    map[net.Conn]*httpConn
	accepted int64         // connections that Serve has got
	changed  chan struct{} // closed when something changes, if somebody waits
}

// An httpConn is what is known of one connection.
type httpConn struct {
	conn     net.Conn
	state    http.ConnState
	since    time.Time
	told     bool  // the client has been told to go
	received int64 // what the kernel had received when the last request was answered
	known    bool  // received is known
}

type httpConnKey struct{}

// Times that Shutdown gives to clients that do nothing.
const (
	idleGrace   = 500 * time.Millisecond // IdleGrace, if it is 0
	newGrace    = 5 * time.Second        // before the first request, as http.Server.Shutdown
	activeGrace = 5 * time.Second        // for an answer that began before; then Shutdown waits on
)

// HTTP prepares srv for [HTTPServer.Shutdown]. It has to be called before Serve,
// after the fields of srv are set, and once: it replaces Handler, ConnState and
// ConnContext by functions that call those that were there.
func HTTP(srv *http.Server) *HTTPServer {
	h := &HTTPServer{srv: srv, conns: map[net.Conn]*httpConn{}}
	connContext, connState, handler := srv.ConnContext, srv.ConnState, srv.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if connContext != nil {
			if ctx = connContext(ctx, c); ctx == nil {
				return nil // Serve panics
			}
		}
		return context.WithValue(ctx, httpConnKey{}, h.add(c))
	}
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		h.set(c, state)
		if connState != nil {
			connState(c, state)
		}
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.draining.Load() && h.tell(r) {
			// HTTP/2 makes a GOAWAY of it.
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
		if h.draining.Load() {
			h.answered(r)
		}
	})
	return h
}

func (h *HTTPServer) add(c net.Conn) *httpConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	info := &httpConn{conn: c, known: true, state: http.StateNew, since: time.Now()}
	h.conns[c] = info
	h.accepted++
	h.notify()
	return info
}

func (h *HTTPServer) set(c net.Conn, state http.ConnState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	info := h.conns[c]
	if info == nil {
		return
	}
	if state == http.StateClosed || state == http.StateHijacked {
		delete(h.conns, c)
	}
	info.state, info.since = state, time.Now()
	h.notify()
}

// notify wakes who waits. The caller has the lock.
func (h *HTTPServer) notify() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// tell reports whether the answer to r should tell the client to go. Server
// closes the connection then, and a client that has sent more requests already
// would lose them; it is told later.
func (h *HTTPServer) tell(r *http.Request) bool {
	info, ok := r.Context().Value(httpConnKey{}).(*httpConn)
	if !ok {
		return true
	}
	received, ok := received(info.conn)
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok && r.ProtoMajor == 1 && (!info.known || ahead(r, received-info.received)) {
		return false
	}
	info.told = true
	h.notify()
	return true
}

// ahead reports whether a client has sent a request before it had the answer to
// the last, judging by how much was received since that was answered.
func ahead(r *http.Request, received int64) bool {
	// At least: the kernel received this much of it. Optional space is not
	// counted here, and added to the most.
	least := int64(len(r.Method) + len(r.RequestURI) + len(r.Proto) + len("  \r\n\r\n") + len("Host:\r\n") + len(r.Host))
	space := int64(1)
	for name, values := range r.Header {
		for _, v := range values {
			least += int64(len(name) + len(v) + len(":\r\n"))
			space++
		}
	}
	if received < least {
		return true // it was there before
	}
	if r.ContentLength < 0 {
		return false // in chunks; who knows
	}
	const shortest = int64(len("GET / HTTP/1.1\r\n"))
	return received >= least+space+r.ContentLength+shortest
}

// answered notes what was received before the end of an answer, which is still in
// a buffer. Beyond r that can only be a request that was sent ahead.
func (h *HTTPServer) answered(r *http.Request) {
	info, ok := r.Context().Value(httpConnKey{}).(*httpConn)
	if !ok {
		return
	}
	received, ok := received(info.conn)
	h.mu.Lock()
	defer h.mu.Unlock()
	info.received, info.known = received, ok
}

// Shutdown drains and closes the listeners, one after the other, lets the
// clients go, and then shuts the server down. Serve goes on until then.
//
// Clients learn by the answer to their next request that the connection ends
// (Connection: close, with HTTP/2 GOAWAY). Those that send none within IdleGrace,
// or never did for 5 seconds, are disconnected by http.Server.Shutdown. It is
// called when the answers are complete that were under way when the listeners
// were closed, or after 5 seconds, and waits for those that take longer. A client
// that sends requests ahead of the answers is told when it does not; if it always
// does, or over TLS, it has to repeat those that are not answered when the
// connection is closed, as ever (RFC 9112, 9.3.2).
//
// If a listener cannot be drained, Shutdown returns Drain's error and the server
// serves on, on the listeners that are not closed; the caller decides between
// srv.Shutdown, which loses what the kernel has accepted, and another try. Else
// the error is that of srv.Shutdown: ctx's, if it ended before the last request.
// Without listeners Shutdown only lets the clients go.
func (h *HTTPServer) Shutdown(ctx context.Context, lns ...*Listener) error {
	for _, ln := range lns {
		if ln.m.hasLeft() {
			continue
		}
		if err := ln.Drain(ctx); err != nil {
			return err
		}
		if err := ln.leave(); err != nil {
			return err
		}
	}
	h.startDraining()
	h.letGo(ctx, lns)
	return h.srv.Shutdown(ctx)
}

// startDraining makes the answers tell clients to go, from now on.
func (h *HTTPServer) startDraining() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, info := range h.conns {
		switch info.state {
		case http.StateNew: // nothing was answered yet
		case http.StateIdle:
			info.received, info.known = received(info.conn)
		default:
			info.known = false
		}
	}
	h.draining.Store(true)
}

// letGo returns when no connection is left of which the client could expect
// another answer, or the times for that are over.
func (h *HTTPServer) letGo(ctx context.Context, lns []*Listener) {
	start := time.Now()
	for {
		h.mu.Lock()
		deadline := h.deadline(start, lns)
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		wait := time.Until(deadline)
		if wait <= 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// deadline returns until when there is something to wait for. The caller has the
// lock.
func (h *HTTPServer) deadline(start time.Time, lns []*Listener) (until time.Time) {
	later := func(t time.Time) {
		if t.After(until) {
			until = t
		}
	}
	grace := cmp.Or(h.IdleGrace, idleGrace)
	for _, info := range h.conns {
		switch {
		case info.state == http.StateNew:
			later(info.since.Add(newGrace))
		case info.told:
		case info.state == http.StateIdle && info.since.After(start):
			later(info.since.Add(grace))
		case info.state == http.StateIdle:
			later(start.Add(grace))
		default:
			// It is being answered, without a word about the end.
			later(start.Add(activeGrace))
		}
	}
	return until
}
