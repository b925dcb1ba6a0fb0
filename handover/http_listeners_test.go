package handover

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A limitListener is as that of netutil: Accept waits until one of n connections is
// closed.
type limitListener struct {
	net.Listener
	slots chan struct{}
}

type limitConn struct {
	net.Conn
	slots chan struct{}
}

func (l limitListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitConn{Conn: c, slots: l.slots}, nil
}

func (c *limitConn) Close() error {
	err := c.Conn.Close()
	if err == nil {
		<-c.slots
	}
	return err
}

// An unwrapper has its inner listener where only a method shows it.
type unwrapper struct{ inner net.Listener }

func (l unwrapper) Accept() (net.Conn, error) { return l.inner.Accept() }
func (l unwrapper) Close() error              { return l.inner.Close() }
func (l unwrapper) Addr() net.Addr            { return l.inner.Addr() }
func (l unwrapper) Unwrap() net.Listener      { return l.inner }

// An opaque listener does not show what it wraps.
type opaque struct{ inner net.Listener }

func (l opaque) Accept() (net.Conn, error) { return l.inner.Accept() }
func (l opaque) Close() error              { return l.inner.Close() }
func (l opaque) Addr() net.Addr            { return l.inner.Addr() }

// An uncomparable connection cannot be a key.
type uncomparable struct {
	net.Conn
	_ []byte
}

type uncomparableListener struct{ net.Listener }

func (l uncomparableListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return uncomparable{Conn: c}, err
}

func listenTest(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Through listeners that wrap others, clients are told, and counted.
func TestWrappedListeners(t *testing.T) {
	t.Parallel()
	g := subtests{t: t}
	defer g.Wait()
	config := &tls.Config{Certificates: []tls.Certificate{testCertificate()}}
	for _, test := range []struct {
		name   string
		wrap   func(net.Listener) net.Listener
		secure bool
	}{
		{"tls", func(ln net.Listener) net.Listener { return tls.NewListener(ln, config) }, true},
		{"limit", func(ln net.Listener) net.Listener { return limitListener{ln, make(chan struct{}, 9)} }, false},
		{"Unwrap", func(ln net.Listener) net.Listener { return unwrapper{ln} }, false},
		{"uncomparable", func(ln net.Listener) net.Listener { return uncomparableListener{ln} }, false},
		{"two", func(ln net.Listener) net.Listener {
			return tls.NewListener(unwrapper{limitListener{ln, make(chan struct{}, 9)}}, config)
		}, true},
		{"shared", func(ln net.Listener) net.Listener { return Shared(unwrapper{ln}) }, false},
		{"wrapped shared", func(ln net.Listener) net.Listener { return tls.NewListener(Shared(ln), config) }, true},
	} {
		g.run(test.name, func(t *testing.T) {
			s := serveTestOn(t, test.wrap(listenTest(t)), false, hello, func(s *HTTPServer) { s.IdleGrace = 20 * briefly })
			s.secure = test.secure
			c, late, silent := s.dial(t), s.dial(t), s.dial(t)
			for _, c := range []*testClient{c, late, silent} {
				c.untold(t)
			}
			done := s.stop(t.Context(), false)
			c.told(t)
			c.Close()
			late.ended(t)
			io.WriteString(late, testRequest)
			silent.ended(t)
			silent.Close()
			if got := counts(t, result(t, done)); got != (ShutdownError{Crossed: 1}) {
				t.Errorf("%+v, want the late one", got)
			}
			if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// A listener that Shutdown could not stop is refused before the server serves.
func TestOpaqueListener(t *testing.T) {
	t.Parallel()
	for name, ln := range map[string]net.Listener{
		"opaque": opaque{listenTest(t)},
		"shared": Shared(opaque{listenTest(t)}),
	} {
		s := serveTestOn(t, ln, false, hello, nil)
		if err := <-s.served; err == nil || errors.Is(err, http.ErrServerClosed) || !strings.Contains(err.Error(), "opaque") {
			t.Errorf("%s: %v, want an error that names the type", name, err)
		}
		if _, err := net.Dial("tcp", s.addr); err == nil {
			t.Errorf("%s: the listener is open", name)
		}
	}
	if s := serveTestOn(t, unwrapper{listenTest(t)}, false, hello, nil); true {
		s.dial(t).untold(t)
	}
}

// A listener that lets in no more connections than are open does not keep Shutdown
// waiting: the queue's come when clients that are told close.
func TestLimitListenerFull(t *testing.T) {
	t.Parallel()
	needTCPInfo(t)
	s := serveTestOn(t, limitListener{listenTest(t), make(chan struct{}, 1)}, false, hello, nil)
	c := s.dial(t)
	c.untold(t)
	queued := s.dial(t)
	io.WriteString(queued, testRequest)
	done := s.stop(t.Context(), false)
	c.told(t)
	c.Close()
	resp, err := queued.answer()
	if err != nil || !resp.Close {
		t.Errorf("the one in the queue: %v, %v", resp, err)
	}
	queued.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}

// Serve after Shutdown returns at once, as ListenAndServe does.
func TestServeAfterShutdown(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, hello, nil)
	s.dial(t).Close()
	if err := result(t, s.stop(t.Context(), false)); err != nil {
		t.Error(err)
	}
	ln := listenTest(t)
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the listener is open")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("another Shutdown: %v", err)
	}
}

// A handler that was set too late could not tell clients: Shutdown says so, and the
// server serves on.
func TestHandlerReplaced(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, hello, nil)
	c := s.dial(t)
	c.untold(t)
	ours := s.Handler
	s.Handler = http.HandlerFunc(hello)
	if err := s.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "Handler") {
		t.Errorf("%v, want an error about Handler", err)
	}
	c.untold(t)
	s.Handler = ours
	done := s.stop(t.Context(), false)
	c.told(t)
	c.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}
