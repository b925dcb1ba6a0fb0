package handover

import (
	"cmp"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An HTTPServer is an http.Server that can be stopped without losing a request. Use
// its methods to serve and to stop, not those of the Server in it.
type HTTPServer struct {
	// Server has the configuration. Its fields are set before Serve, which
	// replaces Handler, ConnContext, ConnState and the functions of HTTP/2 in
	// TLSNextProto by others that call them.
	*http.Server

	// IdleGrace is how long Shutdown waits for the next request of a client that
	// keeps its connection open, so that the answer can tell it to close. It
	// should be longer than clients pause between requests: a request that comes
	// later is lost, and counted. If IdleGrace is 0, it is Server's IdleTimeout,
	// or else ReadTimeout, or else 15 seconds.
	IdleGrace time.Duration

	// NeedSuccessor makes Shutdown return an error, while the server serves on,
	// unless another process listens at all of its addresses, too.
	NeedSuccessor bool

	once         sync.Once
	times        httpTimes
	draining     chan struct{}
	wake         chan struct{} // has a value if Shutdown should look again
	stage        atomic.Int32
	noKeepAlives atomic.Bool
	closed       atomic.Bool // by Close
	shut         bool        // http.Server.Shutdown was called
	oneGoAway    bool        // HTTP/2 without frameConn

	conns    sync.Map // net.Conn to *httpConn
	hijacked openConns
	lost     struct{ crossed, partial, untold atomic.Int64 }

	gating sync.Mutex // held by Serve while it begins, and by Shutdown until clients are told
	hooked bool

	mu      sync.Mutex // of these
	gates   atomic.Pointer[[]*gate]
	onDrain []func()
	run     *shutdown
}

// The stages of a server.
const (
	stageServing = iota
	stageTelling // answers tell clients to close the connection
	stageClosing // http.Server.Shutdown was called
)

// Serve is that of http.Server, for any listener that Shutdown can stop. These are:
//
//   - a *Listener, or one of package net with SO_REUSEPORT. Shutdown hands it over.
//   - another one of package net. Shutdown closes it when its queue is empty.
//   - one that [Shared] returned.
//   - one that wraps such a listener and has it in an exported field Listener, or
//     returns it by a method Unwrap() net.Listener: those of crypto/tls, of
//     netutil.LimitListener, of cmux and of packages for the PROXY protocol.
//
// For others it returns an error.
func (s *HTTPServer) Serve(ln net.Listener) error {
	return s.serve(ln, false, s.Server.Serve)
}

// ServeTLS is that of http.Server, for the listeners of [HTTPServer.Serve].
func (s *HTTPServer) ServeTLS(ln net.Listener, certFile, keyFile string) error {
	return s.serve(ln, true, func(ln net.Listener) error { return s.Server.ServeTLS(ln, certFile, keyFile) })
}

// ListenAndServe calls [Listen] with the address Addr, or ":http", and Serve.
func (s *HTTPServer) ListenAndServe() error {
	ln, err := Listen("tcp", cmp.Or(s.Addr, ":http"))
	if err != nil {
		return err
	}
	return s.Serve(ln)
}

// ListenAndServeTLS calls [Listen] with the address Addr, or ":https", and ServeTLS.
func (s *HTTPServer) ListenAndServeTLS(certFile, keyFile string) error {
	ln, err := Listen("tcp", cmp.Or(s.Addr, ":https"))
	if err != nil {
		return err
	}
	return s.ServeTLS(ln, certFile, keyFile)
}

func (s *HTTPServer) serve(ln net.Listener, secure bool, serve func(net.Listener) error) error {
	g, err := s.open(ln, secure)
	if err != nil {
		ln.Close()
		return err
	}
	defer s.setGates(func(gates []*gate) []*gate {
		return slices.DeleteFunc(gates, func(other *gate) bool { return other == g })
	})
	defer g.Close()
	return serve(g)
}

func (s *HTTPServer) open(ln net.Listener, secure bool) (*gate, error) {
	s.init()
	s.gating.Lock()
	defer s.gating.Unlock()
	if s.stage.Load() != stageServing {
		return nil, http.ErrServerClosed
	}
	g, err := newGate(ln, s.served())
	if err != nil {
		return nil, err
	}
	s.hook(secure)
	s.setGates(func(gates []*gate) []*gate { return append(gates, g) })
	return g, nil
}

// setGates replaces the gates, which can be read without a lock.
func (s *HTTPServer) setGates(change func([]*gate) []*gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gates := change(slices.Clone(s.served()))
	s.gates.Store(&gates)
}

func (s *HTTPServer) served() []*gate {
	if gates := s.gates.Load(); gates != nil {
		return *gates
	}
	return nil
}

// Draining returns a channel that is closed when Shutdown begins to tell clients.
// Handlers of WebSockets, server-sent events and long polls should end soon then.
func (s *HTTPServer) Draining() <-chan struct{} {
	s.init()
	return s.draining
}

// RegisterOnShutdown registers a function that Shutdown calls, in a goroutine of its
// own, when it begins to tell clients. Functions that are registered with the Server
// itself are called when all answers of HTTP/1 are complete.
func (s *HTTPServer) RegisterOnShutdown(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onDrain = append(s.onDrain, f)
}

// SetKeepAlivesEnabled is that of http.Server. But it closes no connections that
// are idle: their clients are told by the next answer.
func (s *HTTPServer) SetKeepAlivesEnabled(v bool) { s.noKeepAlives.Store(!v) }

func (s *HTTPServer) init() {
	s.once.Do(func() {
		s.draining, s.wake = make(chan struct{}), make(chan struct{}, 1)
		if s.times == (httpTimes{}) {
			s.times = defaultHTTPTimes()
		}
	})
}
