package handover

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// serveOne serves a client that is connected already.
func serveOne(t testing.TB) (h *HTTPServer, client net.Conn, in *bufio.Reader) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})}
	h = HTTP(srv)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(30 * time.Second))
	return h, client, bufio.NewReader(client)
}

// A client that sends requests ahead gets all its answers, and is told to go when
// it sends one alone. The control is what happens where nothing is known of the
// bytes received, as under emulators: it is told at once, and the rest is lost.
func TestPipelining(t *testing.T) {
	for _, known := range []bool{true, false} {
		h, conn, in := serveOne(t)
		const request = "POST /a HTTP/1.1\r\nHost: here\r\nX-A:  b\r\nContent-Length: 5\r\n\r\nhello"
		exchange := func(n int) (answers int, told bool) {
			if _, err := conn.Write([]byte(strings.Repeat(request, n))); err != nil {
				return 0, told
			}
			for range n {
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					return answers, told
				}
				resp.Body.Close()
				answers++
				told = resp.Close
			}
			return answers, told
		}
		if n, told := exchange(3); n != 3 || told {
			t.Fatalf("before: %d answers of 3, told %v", n, told)
		}
		h.startDraining()
		h.mu.Lock()
		for _, info := range h.conns {
			if _, ok := received(info.conn); !ok {
				known = false // an emulator
			}
			if !known {
				info.conn = nil
			}
		}
		h.mu.Unlock()
		if !known {
			if n, told := exchange(3); n != 1 || !told {
				t.Errorf("control: %d answers of 3, told %v", n, told)
			}
			continue
		}
		for range 3 {
			if n, told := exchange(3); n != 3 || told {
				t.Fatalf("%d answers of 3, told %v", n, told)
			}
		}
		if n, told := exchange(1); n != 1 || !told {
			t.Errorf("alone: %d answers, told %v", n, told)
		}
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// An idle client is told by the answer to its next request, if that comes within
// IdleGrace; afterwards it finds its connection closed.
func TestIdleGrace(t *testing.T) {
	for _, within := range []bool{true, false} {
		h, conn, in := serveOne(t)
		h.IdleGrace = time.Nanosecond
		if within {
			h.IdleGrace = time.Minute
		}
		ask := func() (*http.Response, error) {
			if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: here\r\n\r\n")); err != nil {
				return nil, err
			}
			return http.ReadResponse(in, nil)
		}
		if resp, err := ask(); err != nil || resp.Close {
			t.Fatalf("before: %v, %v", resp, err)
		}
		done := make(chan error, 1)
		go func() { done <- h.Shutdown(context.Background()) }()
		if within {
			for !h.draining.Load() {
				runtime.Gosched()
			}
			// It is not with the first if the answer before was still under way.
			for told := false; !told; {
				resp, err := ask()
				if err != nil {
					t.Fatal("within: ", err)
				}
				told = resp.Close
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if !within {
			if resp, err := ask(); err == nil {
				t.Errorf("afterwards: %v", resp)
			}
		}
	}
}
