package handover

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Where this fails, Go has changed what http2.go goes by: HTTP/2 has one GOAWAY then,
// and needs another way to two.
func TestUnencryptedHTTP2(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		s := &HTTPServer{Server: &http.Server{}}
		s.configureHTTP2(secure)
		for _, key := range []string{"h2", unencryptedHTTP2} {
			if s.TLSNextProto[key] == nil {
				t.Errorf("secure %v: TLSNextProto has no function for %s", secure, key)
			}
		}
	}
}

// A request that crosses the first GOAWAY is answered; one that crosses the second
// is refused, and counted. The control is http.Server.Shutdown, whose only GOAWAY refuses
// what crosses it, and that returns nil.
func TestTwoGoAways(t *testing.T) {
	t.Parallel()
	g := subtests{t: t}
	defer g.Wait()
	for _, control := range []bool{false, true} {
		g.run(fmt.Sprint("control ", control), func(t *testing.T) {
			both(t, func(t *testing.T, secure bool) {
				handler, entered, release := held(false)
				s := serveTest(t, secure, handler, http2Protocols)
				c := s.dialHTTP2(t)
				c.get(1)
				<-entered
				done := s.stop(t.Context(), control)
				last := c.expect(frameGoAway).value
				c.get(3) // it crosses
				if control {
					close(release)
					c.expect(frameHeaders)
					if f, err := c.next(frameHeaders); last != 1 || err == nil {
						t.Errorf("control: GOAWAY of %d, then stream %d answers", last, f.stream)
					}
					if err := result(t, done); err != nil {
						t.Errorf("control: %v", err)
					}
					return
				}
				if last != 1<<31-1 {
					t.Errorf("the first GOAWAY is of stream %d", last)
				}
				c.expect(framePing)
				<-entered
				c.pong()
				c.expect(framePing)
				c.get(5) // it was behind the answer to PING
				<-entered
				c.pong()
				if last := c.expect(frameGoAway).value; last != 5 {
					t.Errorf("the second GOAWAY is of stream %d, want 5", last)
				}
				c.get(7)
				close(release)
				answered := map[uint32]bool{}
				for range 3 {
					answered[c.expect(frameHeaders).stream] = true
				}
				if !maps.Equal(answered, map[uint32]bool{1: true, 3: true, 5: true}) {
					t.Errorf("streams %v answer", answered)
				}
				if f, err := c.next(frameHeaders); err == nil {
					t.Errorf("stream %d answers", f.stream)
				}
				c.Close()
				if got := counts(t, result(t, done)); got != (ShutdownError{Crossed: 1}) {
					t.Errorf("%+v, want the one that crossed", got)
				}
			})
		})
	}
}

// A client that does not answer PING is waited for not longer than one that sends
// nothing. A request that it sends while the second GOAWAY is on its way is counted.
func TestGoAwayUnanswered(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, secure bool) {
		handler, entered, release := held(false)
		s := serveTest(t, secure, handler, func(s *HTTPServer) { http2Protocols(s); s.times.fresh = briefly })
		c := s.dialHTTP2(t)
		c.get(1)
		<-entered
		done := s.stop(t.Context(), false)
		for _, want := range []uint32{1<<31 - 1, 1} {
			if f := c.expect(frameGoAway); f.value != want {
				t.Errorf("GOAWAY of %d, want %d", f.value, want)
			}
		}
		close(release)
		c.get(3)
		c.get(5)
		for err := error(nil); err == nil; {
			_, err = c.next(frameHeaders)
		}
		if got := counts(t, result(t, done)); got != (ShutdownError{Crossed: 2}) {
			t.Errorf("%+v", got)
		}
	})
}

// A connection that begins while clients are told gets the first GOAWAY after the
// server's SETTINGS.
func TestGoAwayAtOnce(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, secure bool) {
		handler, entered, release := held(false)
		close(release)
		s := serveTest(t, secure, handler, http2Protocols)
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s.dial(t).untold(t) // Serve has conn, too
		done := s.stop(t.Context(), false)
		conn.SetDeadline(time.Now().Add(patience))
		if secure {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}
		c := &h2Client{Conn: conn, t: t}
		io.WriteString(c, clientPreface)
		c.write(4, 0, 0, nil)
		c.get(1)
		<-entered
		<-entered
		if f, err := c.next(4, frameGoAway); f.kind != 4 {
			t.Errorf("the first frame is %+v, %v", f, err)
		}
		if f := c.expect(frameGoAway); f.value != 1<<31-1 {
			t.Errorf("GOAWAY of %d", f.value)
		}
		c.pong()
		c.pong()
		c.expect(frameHeaders)
		c.Close()
		s.conns.Range(func(k, _ any) bool { k.(net.Conn).Close(); return true })
		result(t, done)
	})
}

// Where Go has no way to two, the answer to the last open request tells the client, by
// the one GOAWAY.
func TestOneGoAway(t *testing.T) {
	t.Parallel()
	handler, entered, release := held(false)
	s := serveTest(t, true, handler, func(s *HTTPServer) {
		http2Protocols(s)
		s.configureHTTP2(true)
		delete(s.TLSNextProto, unencryptedHTTP2)
	})
	c := s.dialHTTP2(t)
	c.get(1)
	<-entered
	done := s.stop(t.Context(), false)
	c.get(3)
	<-entered
	close(release)
	for range 2 {
		c.expect(frameHeaders)
	}
	c.get(5)
	seen := map[byte]frame{}
	for len(seen) < 2 {
		f, err := c.next(frameHeaders, frameGoAway)
		if err != nil {
			t.Fatal(err)
		}
		seen[f.kind] = f
	}
	if seen[frameGoAway].value != 5 || seen[frameHeaders].stream != 5 {
		t.Errorf("%+v", seen)
	}
	c.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}

// What handlers, ConnState and clients see of HTTP/2 is what they see without this
// package.
func TestHTTP2Unchanged(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, secure bool) {
		see := func(control bool) (seen []string) {
			var mu sync.Mutex
			note := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, fmt.Sprintf(format, args...))
			}
			type key struct{}
			conns, closed := map[net.Conn]int{}, make(chan struct{})
			srv := &http.Server{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b, err := io.ReadAll(r.Body)
					note("%s %s %s %v %v %v %v", r.Proto, r.URL, b, err, r.TLS != nil, r.Context().Value(key{}), r.RemoteAddr != "")
					w.Header().Set("Trailer", "T")
					io.Copy(w, bytes.NewReader(make([]byte, 1<<20)))
					w.Header().Set("T", "trailer")
				}),
				ConnContext: func(ctx context.Context, c net.Conn) context.Context {
					note("ConnContext %T", c)
					return context.WithValue(ctx, key{}, "value")
				},
				ConnState: func(c net.Conn, state http.ConnState) {
					mu.Lock()
					if conns[c] == 0 {
						conns[c] = len(conns) + 1
					}
					n := conns[c]
					mu.Unlock()
					if state == http.StateNew || state == http.StateClosed {
						note("%v %d %T", state, n, c)
					}
					if state == http.StateClosed {
						close(closed)
					}
				},
				BaseContext: func(ln net.Listener) context.Context {
					note("BaseContext %v", ln.Addr() != nil)
					return context.Background()
				},
			}
			s := &HTTPServer{Server: srv}
			http2Protocols(s)
			ln := listenTest(t)
			serve := s.serve
			if control {
				serve = func(ln net.Listener, _ bool, serve func(net.Listener) error) error { return serve(ln) }
			}
			served := make(chan error, 1)
			go func() {
				if secure {
					srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testCertificate()}}
					served <- serve(ln, true, func(ln net.Listener) error { return srv.ServeTLS(ln, "", "") })
				} else {
					served <- serve(ln, false, srv.Serve)
				}
			}()
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP2(true)
			transport.Protocols.SetUnencryptedHTTP2(true)
			scheme := map[bool]string{false: "http", true: "https"}[secure]
			for range 3 {
				resp, err := (&http.Client{Transport: transport}).Post(scheme+"://"+ln.Addr().String()+"/path", "text/plain", strings.NewReader(strings.Repeat("x", 100)))
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				note("%s %d %v %q", resp.Proto, n, err, resp.Trailer)
			}
			transport.CloseIdleConnections()
			if err := s.Server.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			select {
			case <-closed:
			case <-time.After(patience):
				t.Error("the connection does not close")
			}
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(seen)
			return seen
		}
		if got, want := see(false), see(true); !slices.Equal(got, want) {
			t.Errorf("%q, without this package %q", got, want)
		}
	})
}

// Frames are found in a stream however it is cut.
func FuzzFrameScanner(f *testing.F) {
	f.Add([]byte(firstGoAway+ping), []byte{1, 2, 3})
	f.Add([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x00\x00\x01xy"+firstGoAway+ping), []byte{9, 1, 1, 255})
	f.Add([]byte("\x00\x01\x00\x00\x00\x00\x00\x00\x01"+strings.Repeat("\x00\x00\x08\x07", 64)+firstGoAway+ping), []byte{4})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		// The same, of a stream that is there.
		var want []frame
		rest := stream
		for len(rest) >= frameHead {
			length := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
			n := min(length, frameSeen)
			if len(rest) < frameHead+n {
				break
			}
			value := uint32(0)
			for i := range frameSeen {
				value <<= 8
				if i < n {
					value |= uint32(rest[frameHead+i])
				}
			}
			want = append(want, frame{rest[3], rest[4], binary.BigEndian.Uint32(rest[5:]) &^ (1 << 31), value})
			rest = rest[min(frameHead+length, len(rest)):]
		}
		var got []frame
		var s frameScanner
		for p, i := stream, 0; len(p) > 0; i++ {
			n := len(p)
			if len(cuts) > 0 {
				n = min(n, int(cuts[i%len(cuts)])+1)
			}
			s.scan(p[:n], func(f frame) { got = append(got, f) })
			p = p[n:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// When the context ends each answer under way is counted, not each connection.
func TestHTTP2Cut(t *testing.T) {
	t.Parallel()
	for n := range 4 { // none is the control
		handler, entered, release := held(true)
		s := serveTest(t, false, handler, http2Protocols)
		c := s.dialHTTP2(t)
		for i := range n {
			c.get(uint32(1 + 2*i))
			<-entered
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := counts(t, s.Shutdown(ctx)); got.Cut != n {
			t.Errorf("%d answers under way: %+v", n, got)
		}
		close(release)
		c.Close()
		s.Server.Close()
	}
}
