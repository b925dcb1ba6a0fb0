//go:build long

package handover

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// distant returns an address at which addr is reached with a delay in each direction.
func distant(t testing.TB, addr string, delay time.Duration) string {
	ln := listenTest(t)
	carry := func(to, from *net.TCPConn) {
		type piece struct {
			due  time.Time
			data []byte
		}
		pieces := make(chan piece, 1000)
		go func() {
			defer close(pieces)
			for {
				buf := make([]byte, 32<<10)
				n, err := from.Read(buf)
				if n > 0 {
					pieces <- piece{time.Now().Add(delay), buf[:n]}
				}
				if err != nil {
					pieces <- piece{time.Now().Add(delay), nil}
					return
				}
			}
		}()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			if p.data == nil {
				to.CloseWrite()
			} else if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
	}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer far.Close()
				var both sync.WaitGroup
				both.Go(func() { carry(far.(*net.TCPConn), near.(*net.TCPConn)) })
				both.Go(func() { carry(near.(*net.TCPConn), far.(*net.TCPConn)) })
				both.Wait()
			}()
		}
	}()
	return ln.Addr().String()
}

// A countedConn counts what is written.
type countedConn struct {
	net.Conn
	wrote *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.wrote.Add(int64(n))
	return n, err
}

// Clients that look whether their connection is closed, and pause, lose nothing at
// a distance if they pause for less than IdleGrace; otherwise as many requests as
// Shutdown counts. Only the control loses something without saying so. Go's client
// also gives up requests of which it has written nothing when their connection is
// closed. No server knows of these.
func TestDistance(t *testing.T) {
	t.Parallel()
	g := subtests{t: t}
	defer g.Wait()
	for _, test := range []struct {
		name          string
		secure, http2 bool
		pause         time.Duration // of IdleGrace 500 ms
		counted       bool
	}{
		{name: "short pauses", pause: 200 * time.Millisecond},
		{name: "long pauses", pause: time.Second, counted: true},
		{name: "TLS, long pauses", secure: true, pause: time.Second, counted: true},
		{name: "HTTP2, long pauses", secure: true, http2: true, pause: time.Second},
	} {
		g.run(test.name, func(t *testing.T) {
			lose := func(control bool) (answered, lost int64, got ShutdownError) {
				s := serveTest(t, test.secure, hello, func(s *HTTPServer) { http2Protocols(s); s.IdleGrace = time.Second / 2 })
				addr := distant(t, s.addr, 50*time.Millisecond)
				next := serveTest(t, test.secure, hello, http2Protocols)
				nextAddr := distant(t, next.addr, 50*time.Millisecond)
				var leaving, stop atomic.Bool
				var ok, failed, unsent atomic.Int64
				var clients, begun sync.WaitGroup
				for range 60 {
					config := &tls.Config{InsecureSkipVerify: true}
					dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
						to := addr
						if leaving.Load() {
							to = nextAddr
						}
						return (&net.Dialer{}).DialContext(ctx, network, to)
					}
					var wrote atomic.Int64 // bytes, or heads of HTTP/2
					transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: test.http2, DialContext: dial}
					if !test.http2 {
						transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
							c, err := dial(ctx, network, addr)
							return countedConn{c, &wrote}, err
						}
						transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
							c, err := dial(ctx, network, addr)
							return countedConn{tls.Client(c, config), &wrote}, err
						}
					}
					client := &http.Client{Transport: transport}
					ctx := t.Context()
					if test.http2 {
						ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Add(1) }})
					}
					begun.Add(1)
					clients.Go(func() {
						defer transport.CloseIdleConnections()
						for i := 0; !stop.Load(); i++ {
							// Not to be repeated by the client.
							url := map[bool]string{false: "http://here/", true: "https://here/"}[test.secure]
							req, err := http.NewRequestWithContext(ctx, "POST", url, io.MultiReader(strings.NewReader("hello")))
							if err != nil {
								panic(err)
							}
							before := wrote.Load()
							resp, err := client.Do(req)
							if err == nil {
								_, err = io.Copy(io.Discard, resp.Body)
								resp.Body.Close()
							}
							if err != nil && wrote.Load() == before {
								unsent.Add(1)
							} else if err != nil {
								failed.Add(1)
								t.Log(err)
							} else {
								ok.Add(1)
							}
							if i == 0 {
								begun.Done()
							}
							time.Sleep(rand.N(test.pause))
						}
					})
				}
				begun.Wait()
				time.Sleep(200 * time.Millisecond)
				leaving.Store(true)
				err := result(t, s.stop(t.Context(), control))
				stop.Store(true)
				clients.Wait()
				if n := unsent.Load(); n > 0 {
					t.Logf("%d requests were not sent", n)
				}
				return ok.Load(), failed.Load(), counts(t, err)
			}
			answered, lost, got := lose(false)
			t.Logf("%d answered, %d lost, %+v", answered, lost, got)
			if got != (ShutdownError{Crossed: int(lost)}) || !test.counted && lost > 0 {
				t.Errorf("%d of %d lost, counted %+v", lost, answered, got)
			}
			lost = 0
			for range 10 {
				if lost > 0 {
					break
				}
				answered, lost, got = lose(true)
				t.Logf("control: %d answered, %d lost, %+v", answered, lost, got)
			}
			if lost == 0 {
				t.Errorf("control: none of %d lost", answered)
			}
		})
	}
}
