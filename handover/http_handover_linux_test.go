package handover

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"example.com/reuse"
)

// listenOwn listens as Listen does, at address or at a new port.
func listenOwn(t testing.TB, address string) *Listener {
	t.Helper()
	ln, err := Listen("tcp4", address)
	if err == nil {
		t.Cleanup(func() { ln.Close() })
		err = ln.listen() // before Accept
	}
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// succeed opens a listener that answers nothing, beside ln. It skips the test where no
// handover is possible.
func succeed(t testing.TB, ln net.Listener) *Listener {
	t.Helper()
	next := listenOwn(t, ln.Addr().String())
	probe := listenOwn(t, "127.0.0.1:0")
	listenOwn(t, probe.Addr().String())
	if err := probe.Drain(t.Context()); errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("needs what TestUnsupportedSystem is about: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return next
}

// acceptsAll reports whether every one of some connections to addr is accepted by
// ln: those that others get are answered.
func acceptsAll(t testing.TB, ln *Listener) bool {
	t.Helper()
	accepted := make(chan struct{}, 20)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "x")
			c.Close()
			accepted <- struct{}{}
		}
	}()
	for range cap(accepted) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
			return false
		}
		io.WriteString(c, testRequest)
		if b := make([]byte, 1); true {
			if _, err := c.Read(b); err != nil || b[0] != 'x' {
				c.Close()
				return false
			}
		}
		c.Close()
	}
	return true
}

// While an answer is under way, new connections go to the successor.
func TestHandsOver(t *testing.T) {
	t.Parallel()
	for name, listen := range map[string]func() (net.Listener, error){
		"Listen": func() (net.Listener, error) { return Listen("tcp4", "127.0.0.1:0") },
		"reuse":  func() (net.Listener, error) { return reuse.Port.Listen("tcp4", "127.0.0.1:0") },
		"wrapped": func() (net.Listener, error) {
			ln, err := reuse.Port.Listen("tcp4", "127.0.0.1:0")
			return unwrapper{ln}, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := listen()
			if err != nil {
				t.Fatal(err)
			}
			handler, entered, release := held(true)
			s := serveTestOn(t, ln, false, handler, func(s *HTTPServer) { s.NeedSuccessor = true })
			if name == "wrapped" { // by another one as well
				go s.Serve(ln)
				for len(s.HTTPServer.served()) < 2 {
					runtime.Gosched()
				}
			}
			c := s.dial(t)
			io.WriteString(c, testRequest)
			<-entered
			next := succeed(t, ln)
			done := s.stop(t.Context(), false)
			if !acceptsAll(t, next) {
				t.Error("the old server gets connections")
			}
			select {
			case err := <-s.served:
				t.Errorf("Serve ends while an answer is under way: %v", err)
			default:
			}
			close(release)
			if _, err := c.answer(); err != nil {
				t.Error(err)
			}
			c.Close()
			if err := result(t, done); err != nil {
				t.Error(err)
			}
			if err := <-s.served; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// Of two ports, one has a successor. With NeedSuccessor, Shutdown changes nothing, on
// either; without, one is handed over and the other closed.
func TestTwoPorts(t *testing.T) {
	t.Parallel()
	lns := []*Listener{listenOwn(t, "127.0.0.1:0"), listenOwn(t, "127.0.0.1:0")}
	s := serveTestOn(t, lns[0], false, hello, func(s *HTTPServer) { s.NeedSuccessor = true })
	second := make(chan error, 1)
	go func() { second <- s.Serve(lns[1]) }()
	alone := &testServer{HTTPServer: s.HTTPServer, addr: lns[1].Addr().String()}
	kept := alone.dial(t)
	kept.untold(t)
	s.dial(t).untold(t)
	next := succeed(t, lns[0])
	if err := s.Shutdown(t.Context()); !errors.Is(err, ErrNoSuccessor) || !strings.Contains(err.Error(), alone.addr) {
		t.Errorf("%v, want ErrNoSuccessor", err)
	}
	select {
	case <-s.Draining():
		t.Error("clients are told")
	default:
	}
	kept.untold(t)
	alone.dial(t).untold(t)

	s.NeedSuccessor = false
	s.IdleGrace, s.times.linger = briefly, briefly
	done := s.stop(t.Context(), false)
	if !acceptsAll(t, next) {
		t.Error("the old server gets connections")
	}
	kept.Close()
	// Two clients are silent.
	if got := counts(t, result(t, done)); got != (ShutdownError{Untold: 2}) {
		t.Errorf("%+v", got)
	}
	for _, served := range []chan error{s.served, second} {
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}
	if _, err := net.Dial("tcp", alone.addr); err == nil {
		t.Error("the port without a successor is open")
	}
}

// A listener that cannot be handed over is an error with NeedSuccessor, and the server
// serves on.
func TestNeedSuccessorUnsupported(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, hello, func(s *HTTPServer) { s.NeedSuccessor = true })
	c := s.dial(t)
	c.untold(t)
	if err := s.Shutdown(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v, want errors.ErrUnsupported", err)
	}
	c.untold(t)
}

// A socket that another process has, too, is stopped and not closed: nothing in its
// queue is lost, and clients are told. The control is http.Server.Shutdown.
func TestSharedSocket(t *testing.T) {
	t.Parallel()
	for _, control := range []bool{false, true} {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		file, err := first.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		second, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		ln := Shared(first)
		if control {
			ln = first
		}
		s := serveTestOn(t, ln, false, hello, nil)
		kept := s.dial(t)
		kept.untold(t)
		done := s.stop(t.Context(), control)
		if control {
			if err := result(t, done); err != nil {
				t.Error(err)
			}
			if _, err := kept.ask(); err == nil {
				t.Error("control: a connection that is kept is served")
			}
		}
		other := serveTestOn(t, second, false, hello, nil)
		if told, err := other.dial(t).ask(); told { // by an Accept that was under way
			t.Log("the first server has one more")
		} else if err != nil {
			t.Error(err)
		}
		other.dial(t).untold(t)
		if !control {
			kept.told(t)
			kept.Close()
			if err := result(t, done); err != nil {
				t.Error(err)
			}
		}
		other.dial(t).untold(t)
		file.Close()
	}
}

// A sniffer is a listener that returns connections when their first byte is there,
// as cmux does. It keeps those that begin with "other".
type sniffer struct {
	*Listener
	conns chan net.Conn
}

type sniffed struct {
	net.Conn
	first []byte
}

func (c *sniffed) Read(p []byte) (int, error) {
	if n := copy(p, c.first); n > 0 {
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (l *sniffer) run() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			close(l.conns)
			return
		}
		go func() {
			first := make([]byte, 1)
			if _, err := c.Read(first); err != nil || first[0] == 'x' {
				c.Close() // refused
			} else if first[0] != 'o' {
				l.conns <- &sniffed{c, first}
			}
		}()
	}
}

func (l *sniffer) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// A connection that a wrapper has accepted, and that the server has not, is waited for
// as long as a new one, and counted then. The control are connections that are not the
// server's: another protocol's, and one that was refused.
func TestUnserved(t *testing.T) {
	t.Parallel()
	serve := func(t *testing.T, set func(*HTTPServer)) *testServer {
		ln := listenOwn(t, "127.0.0.1:0")
		l := &sniffer{ln, make(chan net.Conn)}
		s := serveTestOn(t, l, false, hello, set)
		for len(s.HTTPServer.served()) == 0 {
			runtime.Gosched() // until Serve has begun
		}
		go l.run()
		return s
	}
	accepted := func(s *testServer, n int) {
		for len(s.HTTPServer.served()[0].accepted().conns.open()) < n {
			runtime.Gosched()
		}
	}
	t.Run("late", func(t *testing.T) {
		s := serve(t, nil)
		c := s.dial(t)
		accepted(s, 1)
		done := s.stop(t.Context(), false)
		c.told(t)
		c.Close()
		if err := result(t, done); err != nil {
			t.Error(err)
		}
	})
	t.Run("never", func(t *testing.T) {
		needTCPInfo(t)
		s := serve(t, func(s *HTTPServer) { s.times.fresh = 10 * briefly })
		for _, first := range []string{"other", "x", ""} {
			io.WriteString(s.dial(t), first)
		}
		accepted(s, 2)
		if got := counts(t, result(t, s.stop(t.Context(), false))); got != (ShutdownError{Unserved: 1}) {
			t.Errorf("%+v, want the silent one", got)
		}
	})
}
