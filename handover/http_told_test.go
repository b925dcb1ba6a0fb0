package handover

import (
	"bufio"
	"cmp"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// Answers say close, whatever the handler does with the header, and are otherwise what
// they are without. The control is the same request before: it does not say close,
// or for a reason of its own.
func TestToldOnTheWire(t *testing.T) {
	t.Parallel()
	upgrade := func(w http.ResponseWriter) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "test")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}
	tests := []struct {
		name    string
		request string // "": testRequest
		handler http.HandlerFunc
		status  int
		header  string
	}{
		{name: "plain", handler: hello},
		{name: "sets keep-alive", handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "keep-alive")
			hello(w, r)
		}},
		{name: "deletes it", handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Del("Connection")
			hello(w, r)
		}},
		{name: "replaces the header", handler: func(w http.ResponseWriter, r *http.Request) {
			clear(w.Header())
			w.Header()["Connection"] = []string{"keep-alive", "keep-alive"}
			hello(w, r)
		}},
		{name: "flushes and goes on", handler: func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, strings.Repeat("x", 5000))
			http.NewResponseController(w).Flush()
			hello(w, r)
		}},
		{name: "copies a file", handler: func(w http.ResponseWriter, r *http.Request) {
			w.(io.ReaderFrom).ReadFrom(strings.NewReader(strings.Repeat("x", 5000)))
		}},
		{name: "sends hints first", handler: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			hello(w, r)
		}},
		{name: "is not modified", status: http.StatusNotModified, handler: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotModified)
		}},
		{name: "HEAD", request: "HEAD / HTTP/1.1\r\nHost: here\r\n\r\n", handler: hello},
		{name: "limits the body", handler: func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 100)
			hello(w, r)
		}},
		{
			name:    "does not read the body",
			request: "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200000),
			handler: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") },
		}, {
			name:    "expects 100",
			request: testHead + "Expect: 100-continue\r\n" + testRest,
			handler: hello,
		}, {
			name:    "HTTP/1.0 with keep-alive",
			request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			handler: hello,
		}, {
			name: "refuses to switch", status: http.StatusForbidden,
			request: "GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n",
			handler: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) },
		}, {
			name: "switches protocols", status: http.StatusSwitchingProtocols, header: "Upgrade",
			request: "GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n",
			handler: func(w http.ResponseWriter, r *http.Request) { upgrade(w) },
		},
	}
	both(t, func(t *testing.T, secure bool) {
		var handler atomic.Pointer[http.HandlerFunc]
		s := serveTest(t, secure, func(w http.ResponseWriter, r *http.Request) { (*handler.Load())(w, r) }, nil)
		ask := func(t *testing.T, c *testClient, request string) *http.Response {
			t.Helper()
			io.WriteString(c, request)
			method, _, _ := strings.Cut(request, " ")
			for {
				resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
				switch {
				case err != nil:
					t.Fatal(err)
				case resp.StatusCode == http.StatusSwitchingProtocols:
					return resp
				case resp.StatusCode >= 200:
					io.Copy(io.Discard, resp.Body)
					return resp
				}
			}
		}
		var told []*testClient
		for range tests {
			told = append(told, s.dial(t))
		}
		for _, control := range []bool{true, false} {
			var done <-chan error
			if !control {
				done = s.stop(t.Context(), false)
			}
			for i, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					handler.Store(&test.handler)
					c := told[i]
					if control {
						c = s.dial(t)
					}
					defer c.Close()
					resp := ask(t, c, cmp.Or(test.request, testRequest))
					if want := cmp.Or(test.status, http.StatusOK); resp.StatusCode != want {
						t.Errorf("status %s, want %d", resp.Status, want)
					}
					if got := resp.Header["Connection"]; test.header != "" && (len(got) != 1 || got[0] != test.header) {
						t.Errorf("Connection: %q, want %q", got, test.header)
					}
					if test.header == "" && resp.Close == control {
						t.Errorf("the answer says close: %v, before Shutdown: %v", resp.Close, control)
					}
					if !control {
						c.ended(t)
					}
				})
			}
			if !control {
				if err := result(t, done); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// A handler can keep a connection of HTTP/1.0 that was told. It has one IdleGrace
// more then, however many requests come. If Go changes that, the program in
// HTTPServer.tell can be simpler.
func TestToldHTTP10Keeps(t *testing.T) {
	t.Parallel()
	s := serveTest(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "keep-alive")
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	}, func(s *HTTPServer) { s.IdleGrace = 10 * briefly })
	c := s.dial(t)
	ask := func() (*http.Response, error) {
		io.WriteString(c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		return c.answer()
	}
	if _, err := ask(); err != nil {
		t.Fatal(err)
	}
	done := s.stop(t.Context(), false)
	kept := 0
	for {
		resp, err := ask()
		if err != nil {
			break
		}
		if !resp.Close {
			kept++
		}
	}
	if kept == 0 {
		t.Error("the connection is not kept")
	}
	c.Close()
	if got := counts(t, result(t, done)); got.Crossed != 1 || got != (ShutdownError{Crossed: 1}) {
		t.Errorf("%+v, want the request that was not answered", got)
	}
}

// A reverse proxy still switches protocols when it tells clients to close.
func TestToldReverseProxy(t *testing.T) {
	t.Parallel()
	backend := serveTest(t, false, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
		io.Copy(conn, conn)
	}, nil)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend.addr})
	s := serveTest(t, false, proxy.ServeHTTP, nil)
	keeper := s.dial(t)
	c := s.dial(t)
	done := s.stop(t.Context(), false)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header["Connection"]; resp.StatusCode != http.StatusSwitchingProtocols || len(got) != 1 || got[0] != "Upgrade" {
		t.Errorf("%s, Connection: %q", resp.Status, got)
	}
	io.WriteString(c, "echo\n")
	if line, err := bufio.NewReader(c.in).ReadString('\n'); line != "echo\n" {
		t.Errorf("%q, %v", line, err)
	}
	keeper.Close()
	c.Close()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}
