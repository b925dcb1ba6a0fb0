package handover

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	patience = 60 * time.Second      // for what should take no time
	briefly  = 50 * time.Millisecond // for clients that do nothing
)

// A testServer is an HTTPServer that serves.
type testServer struct {
	*HTTPServer
	addr   string
	secure bool
	served chan error
}

// serveTest serves handler on a listener that nobody takes over. All times of
// Shutdown are patience, unless set changes them.
func serveTest(t testing.TB, secure bool, handler http.HandlerFunc, set func(*HTTPServer)) *testServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveTestOn(t, ln, secure, handler, set)
}

func serveTestOn(t testing.TB, ln net.Listener, secure bool, handler http.HandlerFunc, set func(*HTTPServer)) *testServer {
	t.Helper()
	s := &testServer{
		HTTPServer: &HTTPServer{
			Server:    &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)},
			IdleGrace: patience,
			times: httpTimes{
				idle: patience, fresh: patience, head: patience, linger: patience,
				last: defaultHTTPTimes().last, glance: time.Millisecond,
			},
		},
		addr: ln.Addr().String(), secure: secure, served: make(chan error, 1),
	}
	if secure {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testCertificate()}}
	}
	if set != nil {
		set(s.HTTPServer)
	}
	go func() {
		if secure {
			s.served <- s.ServeTLS(ln, "", "")
		} else {
			s.served <- s.Serve(ln)
		}
	}()
	t.Cleanup(func() { s.Close() })
	return s
}

func testCertificate() tls.Certificate {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	return srv.TLS.Certificates[0]
}

// stop begins a Shutdown, and returns when clients are told. The control is
// http.Server's.
func (s *testServer) stop(ctx context.Context, control bool) <-chan error {
	done := make(chan error, 1)
	if control {
		began := make(chan struct{})
		s.Server.RegisterOnShutdown(func() { close(began) })
		go func() { done <- s.Server.Shutdown(ctx) }()
		<-began
		return done
	}
	go func() { done <- s.Shutdown(ctx) }()
	<-s.Draining()
	return done
}

// watched returns when Shutdown knows of n connections how much was received on
// them.
func (s *testServer) watched(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		known := 0
		s.conns.Range(func(_, v any) bool {
			if v.(*httpConn).received.Load() != unknown {
				known++
			}
			return true
		})
		if known == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are watched, want %d", known, n)
		}
	}
}

// has returns when the server has n connections.
func (s *testServer) has(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		open := 0
		s.conns.Range(func(any, any) bool { open++; return true })
		if open == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open, want %d", open, n)
		}
	}
}

// result waits for a Shutdown's error.
func result(t testing.TB, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("Shutdown does not return")
		return nil
	}
}

// counts returns those of a Shutdown's error, without Err.
func counts(t testing.TB, err error) (e ShutdownError) {
	t.Helper()
	var lost *ShutdownError
	if errors.As(err, &lost) {
		e = *lost
		e.Err = nil
	} else if err != nil {
		t.Errorf("%v, want a *ShutdownError or nil", err)
	}
	return e
}

// A testClient is one connection of HTTP/1.
type testClient struct {
	net.Conn
	in *bufio.Reader
}

func (s *testServer) dial(t testing.TB) *testClient {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if s.secure {
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		conn = secure
	}
	return &testClient{conn, bufio.NewReader(conn)}
}

const (
	testHead    = "POST /path HTTP/1.1\r\nHost: here\r\n"
	testRest    = "Content-Length: 5\r\n\r\nhello"
	testRequest = testHead + testRest
)

// answer reads an answer, all of it.
func (c *testClient) answer() (*http.Response, error) {
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp, err
}

// ask sends a request, and returns what its answer says of the connection.
func (c *testClient) ask() (told bool, err error) {
	if _, err := io.WriteString(c, testRequest); err != nil {
		return false, err
	}
	resp, err := c.answer()
	if err != nil {
		return false, err
	}
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("answer %s", resp.Status)
	}
	return resp.Close, nil
}

// untold asks while nobody drains.
func (c *testClient) untold(t testing.TB) {
	t.Helper()
	if told, err := c.ask(); err != nil || told {
		t.Fatalf("before Shutdown: told %v, error %v", told, err)
	}
}

// told asks until an answer says close: the one before may have been under way.
func (c *testClient) told(t testing.TB) {
	t.Helper()
	for range 2 {
		told, err := c.ask()
		if err != nil {
			t.Fatalf("a request that came in time: %v", err)
		}
		if told {
			return
		}
	}
	t.Error("two answers do not say close")
}

// ended waits for the server's close.
func (c *testClient) ended(t testing.TB) {
	t.Helper()
	if _, err := c.in.ReadByte(); err != io.EOF {
		t.Errorf("the server's close: %v, want EOF", err)
	}
}

func hello(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "hello "+strings.Repeat("x", 100))
}

// subtests run at the same time. They wait more than they work.
type subtests struct {
	t *testing.T
	sync.WaitGroup
}

func (g *subtests) run(name string, f func(*testing.T)) {
	g.Go(func() { g.t.Run(name, f) })
}

// both runs a test without and with TLS.
func both(t *testing.T, f func(t *testing.T, secure bool)) {
	g := subtests{t: t}
	defer g.Wait()
	g.run("plain", func(t *testing.T) { f(t, false) })
	g.run("TLS", func(t *testing.T) { f(t, true) })
}
