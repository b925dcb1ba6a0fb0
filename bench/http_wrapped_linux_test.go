//lint:file-ignore SA1019 These are what servers have.

package bench_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/handover"
	"github.com/gorilla/websocket"
	"github.com/pires/go-proxyproto"
	"github.com/soheilhy/cmux"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
	"golang.org/x/net/netutil"
)

// A wrapping is a way in which programs wrap a listener.
type wrapping struct {
	name   string
	wrap   func(net.Listener) net.Listener
	header string // what a client sends first
}

var wrappings = []wrapping{
	{"netutil", func(ln net.Listener) net.Listener { return netutil.LimitListener(ln, 2) }, ""},
	{"cmux", func(ln net.Listener) net.Listener {
		m := cmux.New(ln)
		matched := m.Match(cmux.HTTP1Fast())
		go m.Serve()
		return matched
	}, ""},
	{"PROXY", func(ln net.Listener) net.Listener {
		return &proxyproto.Listener{Listener: ln, ReadHeaderTimeout: 10 * time.Second}
	}, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
	{"PROXY and netutil", func(ln net.Listener) net.Listener {
		return netutil.LimitListener(&proxyproto.Listener{Listener: ln, ReadHeaderTimeout: 10 * time.Second}, 2)
	}, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
}

// Through the listeners of other packages, clients are told, those that ask too late are
// counted, and one that is accepted and has sent nothing yet is served. The control
// is http.Server.Shutdown.
func TestHTTPWrapped(t *testing.T) {
	for _, w := range wrappings {
		for _, control := range []bool{false, true} {
			t.Run(fmt.Sprint(w.name, ", control ", control), func(t *testing.T) {
				t.Parallel()
				ln, err := handover.Listen("tcp4", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				srv := &handover.HTTPServer{
					Server: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})},
				}
				served := make(chan error, 1)
				go func() { served <- srv.Serve(w.wrap(ln)) }()
				kept, fresh := dialHTTP(t, ln, w.header), dialHTTP(t, ln, "")
				if close, err := kept.ask(); err != nil || close {
					t.Fatalf("before: close %v, %v", close, err)
				}
				next, err := reuse.Port.Listen("tcp4", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer next.Close()
				shut := make(chan error, 1)
				if control {
					err := srv.Server.Shutdown(t.Context())
					if _, lost := kept.ask(); lost == nil || err != nil {
						t.Errorf("control: nothing is lost: %v", err)
					}
					return
				}
				go func() { shut <- srv.Shutdown(t.Context()) }()
				<-srv.Draining()
				for close := false; !close; {
					if close, err = kept.ask(); err != nil {
						t.Fatal("the next request: ", err)
					}
				}
				kept.Close()
				io.WriteString(fresh, w.header)
				if close, err := fresh.ask(); err != nil || !close {
					t.Errorf("the first request: close %v, %v", close, err)
				}
				fresh.Close()
				if err := <-shut; err != nil {
					t.Error(err)
				}
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Errorf("Serve: %v", err)
				}
			})
		}
	}
}

// An httpClient is one connection.
type httpClient struct {
	net.Conn
	in *bufio.Reader
}

func dialHTTP(t *testing.T, ln net.Listener, header string) *httpClient {
	t.Helper()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, header)
	return &httpClient{conn, bufio.NewReader(conn)}
}

func (c *httpClient) ask() (close bool, err error) {
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: here\r\n\r\n")
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Close, err
}

// WebSockets begin while clients are told, as before, and end when their handlers
// obey Draining. Those that do not are counted.
func TestHTTPWebSocket(t *testing.T) {
	for _, obey := range []bool{true, false} {
		ln, err := handover.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &handover.HTTPServer{Server: &http.Server{}, IdleGrace: time.Second}
		var upgrader websocket.Upgrader
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if obey {
				<-srv.Draining()
				conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(time.Second))
				conn.Close()
			}
		})
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		keeper := dialHTTP(t, ln, "")
		open := func() *websocket.Conn {
			conn, resp, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Header["Connection"]; len(got) != 1 || got[0] != "Upgrade" {
				t.Errorf("Connection: %q", got)
			}
			return conn
		}
		early := open()
		defer early.Close()
		shut := make(chan error, 1)
		go func() { shut <- srv.Shutdown(t.Context()) }()
		<-srv.Draining()
		keeper.Close()
		if obey {
			if _, _, err := early.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
				t.Errorf("the client sees %v", err)
			}
		}
		err = <-shut
		var lost *handover.ShutdownError
		if obey && err != nil || !obey && (!errors.As(err, &lost) || lost.Hijacked != 1) {
			t.Errorf("obeys Draining %v: %v", obey, err)
		}
		<-served
	}
}

// Servers that golang.org/x/net/http2 configures, and its h2c, which hijacks, lose
// nothing, or say so. The client has a stream open, and sends another one when it
// knows that Shutdown has begun.
func TestHTTP2OfXNet(t *testing.T) {
	for _, kind := range []string{"ConfigureServer", "h2c"} {
		t.Run(kind, func(t *testing.T) {
			ln, err := handover.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			entered, release := make(chan struct{}, 2), make(chan struct{})
			var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				entered <- struct{}{}
				<-release
				io.WriteString(w, r.Proto)
			})
			srv := &handover.HTTPServer{Server: &http.Server{Handler: handler}, IdleGrace: time.Second}
			transport := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			scheme := "https"
			serve := func() error { return srv.ServeTLS(ln, "", "") }
			if kind == "h2c" {
				srv.Handler = h2c.NewHandler(handler, &http2.Server{})
				transport.AllowHTTP, scheme = true, "http"
				transport.DialTLS = func(network, addr string, _ *tls.Config) (net.Conn, error) { return net.Dial(network, addr) }
				serve = func() error { return srv.Serve(ln) }
			} else {
				certified := httptest.NewUnstartedServer(nil)
				certified.StartTLS()
				defer certified.Close()
				srv.TLSConfig = &tls.Config{Certificates: certified.TLS.Certificates}
				if err := http2.ConfigureServer(srv.Server, nil); err != nil {
					t.Fatal(err)
				}
			}
			served := make(chan error, 1)
			go func() { served <- serve() }()
			answers := make(chan error, 2)
			ask := func() {
				resp, err := (&http.Client{Transport: transport}).Get(scheme + "://" + ln.Addr().String())
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				answers <- err
			}
			go ask()
			<-entered
			shut := make(chan error, 1)
			go func() { shut <- srv.Shutdown(t.Context()) }()
			<-srv.Draining()
			close(release)
			if err := <-answers; err != nil {
				t.Error(err)
			}
			err = <-shut
			var lost *handover.ShutdownError
			if kind == "h2c" && (!errors.As(err, &lost) || lost.Hijacked != 1) || kind != "h2c" && err != nil {
				t.Error(err)
			}
			<-served
		})
	}
}
