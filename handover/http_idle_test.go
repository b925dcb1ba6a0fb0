package handover

import (
	"context"
	"io"
	"net"
	"testing"
)

// What becomes of a connection that is idle when Shutdown begins, or new, depends on
// the client. Each request that is lost is counted. Controls are the cases in which the
// client does what the one before does not, and http.Server.Shutdown in
// TestIdleControl.
func TestIdle(t *testing.T) {
	t.Parallel()
	g := subtests{t: t}
	defer g.Wait()
	for _, test := range []struct {
		name   string
		fresh  bool                          // the client has sent nothing before
		head   bool                          // a head that has begun makes the difference
		set    func(s *HTTPServer)           // times that have to pass
		client func(*testing.T, *idleClient) // what it does when clients are told
		want   ShutdownError
	}{
		{
			name:   "asks",
			client: func(t *testing.T, c *idleClient) { c.told(t); c.ended(t) },
		}, {
			name: "asks first", fresh: true,
			client: func(t *testing.T, c *idleClient) { c.told(t); c.ended(t) },
		}, {
			name: "closes", set: idleBriefly,
			client: func(t *testing.T, c *idleClient) { c.ended(t); c.Close() },
		}, {
			name: "closes without a request", fresh: true, set: idleBriefly,
			client: func(t *testing.T, c *idleClient) { c.ended(t); c.Close() },
		}, {
			name: "asks too late", set: idleBriefly,
			client: func(t *testing.T, c *idleClient) { c.ended(t); c.write(t, testRequest) },
			want:   ShutdownError{Crossed: 1},
		}, {
			name: "asks too late first", fresh: true, set: idleBriefly,
			client: func(t *testing.T, c *idleClient) { c.ended(t); c.write(t, testRequest) },
			want:   ShutdownError{Crossed: 1},
		}, {
			name: "asks too late, in two parts", set: idleBriefly,
			client: func(t *testing.T, c *idleClient) {
				c.ended(t)
				c.write(t, testHead)
				c.write(t, testRest)
			},
			want: ShutdownError{Crossed: 1},
		}, {
			name: "asks too late and not to the end", head: true, set: idleBriefly,
			client: func(t *testing.T, c *idleClient) {
				c.ended(t)
				c.write(t, testHead)
				c.leave()
			},
			want: ShutdownError{Partial: 1},
		}, {
			name: "asks in time and ends late", head: true,
			set: func(s *HTTPServer) { s.IdleGrace = 20 * briefly },
			client: func(t *testing.T, c *idleClient) {
				c.write(t, testHead)
				c.clock.ended(t) // its IdleGrace is over
				c.write(t, testRest)
				if resp, err := c.answer(); err != nil || !resp.Close {
					t.Errorf("%v, %v", resp, err)
				}
			},
		}, {
			name: "asks in time and does not end", head: true,
			set: func(s *HTTPServer) { s.IdleGrace, s.times.head = 20*briefly, briefly },
			client: func(t *testing.T, c *idleClient) {
				c.write(t, testHead)
				c.leave()
			},
			want: ShutdownError{Partial: 1},
		}, {
			name: "does nothing", set: idleBriefly,
			client: func(t *testing.T, c *idleClient) { c.leave() },
			want:   ShutdownError{Untold: 1},
		},
	} {
		g.run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, secure bool) {
				if test.head {
					needTCPInfo(t)
				}
				s := serveTest(t, secure, hello, test.set)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := &idleClient{testClient: s.dial(t), clock: s.dial(t)}
				c.leave = func() {
					c.ended(t)
					c.clock.Close()
					s.has(t, 1)
					cancel()
				}
				if !test.fresh {
					c.untold(t)
				}
				c.clock.untold(t)
				done := s.stop(ctx, false)
				s.watched(t, 2)
				test.client(t, c)
				c.clock.Close()
				if got := counts(t, result(t, done)); got != test.want {
					t.Errorf("%+v, want %+v", got, test.want)
				}
			})
		})
	}
}

// An idleClient is a client, with another one that is idle all the time.
type idleClient struct {
	*testClient
	clock *testClient
	leave func() // ends the context when the server has closed, and the clock is gone
}

func (c *idleClient) write(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Error(err)
	}
}

func idleBriefly(s *HTTPServer) { s.IdleGrace, s.times.fresh = briefly, briefly }

// needTCPInfo skips the test unless the kernel tells how long a listener's queue is,
// and how much was received on a connection. Emulators do not.
func needTCPInfo(t *testing.T) {
	t.Helper()
	ln := listenTest(t).(*net.TCPListener)
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if queued(ln) == 0 {
		t.Skip("the kernel does not tell how long a listener's queue is")
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if bytesReceived(conn.(*net.TCPConn)) < 1 {
		t.Skip("the kernel does not tell how much it has received")
	}
}
