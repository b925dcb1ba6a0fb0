package bench_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/reuse/handover"
	"github.com/valyala/fasthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// Servers that are not package net/http's, handed over by Drain and their own
// graceful stop.
func TestServers(t *testing.T) {
	t.Run("gRPC", func(t *testing.T) { testServer(t, startGRPC, askGRPC) })
	t.Run("fasthttp", func(t *testing.T) { testServer(t, startFastHTTP, askHTTP) })
}

// testServer replaces a server under load: its graceful stop loses nothing after
// Drain, and something without it.
func testServer(t *testing.T, start func(net.Listener) (stop func()), ask func(address string) error) {
	answered, lost := replace(t, start, ask, true)
	t.Logf("with Drain: %d answered, %d lost", answered, lost)
	if answered == 0 || lost > 0 {
		t.Errorf("with Drain %d of %d lost", lost, answered+lost)
	}
	answered, lost = replace(t, start, ask, false)
	t.Logf("without: %d answered, %d lost", answered, lost)
	if lost == 0 {
		t.Errorf("the control, without Drain, loses none of %d", answered)
	}
}

// replace replaces a server five times under the load of 32 clients.
func replace(t *testing.T, start func(net.Listener) (stop func()), ask func(address string) error, drain bool) (answered, lost int64) {
	t.Helper()
	ln, err := handover.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	slow := newSlowListener(ln)
	stop := start(slow)

	var ok, failed atomic.Int64
	var stopped atomic.Bool
	var clients sync.WaitGroup
	step := make(chan struct{}, 1)
	defer func() {
		stopped.Store(true)
		clients.Wait()
		stop()
		answered, lost = ok.Load(), failed.Load()
	}()
	for range 32 {
		clients.Go(func() {
			for !stopped.Load() {
				if err := ask(address); err == nil {
					ok.Add(1)
				} else if failed.Add(1) == 1 {
					t.Log(err)
				}
				select {
				case step <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 5 {
		for range 100 {
			<-step
		}
		next, err := handover.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		slowNext := newSlowListener(next)
		stopNext := start(slowNext)
		if drain {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := ln.Drain(ctx)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			slow.settle()
		}
		stop()
		ln, stop, slow = next, stopNext, slowNext
	}
	return // the deferred function sets the results
}

// A slowListener leaves connections in the queue for a while. It knows which
// connections its server has accepted but not begun to read from: gRPC's
// GracefulStop closes those unread (handleRawConn), whatever became of the
// listener. So settle stands between Drain and the stop.
type slowListener struct {
	net.Listener
	unread sync.WaitGroup
	ended  chan struct{} // the accept loop has
	end    func()
	close  func() error
}

func newSlowListener(ln net.Listener) *slowListener {
	l := &slowListener{Listener: ln, ended: make(chan struct{})}
	l.end = sync.OnceFunc(func() { close(l.ended) })
	l.close = sync.OnceValue(ln.Close)
	return l
}

func (l *slowListener) Accept() (net.Conn, error) {
	time.Sleep(time.Millisecond)
	conn, err := l.Listener.Accept()
	if err != nil {
		l.end()
		return nil, err
	}
	l.unread.Add(1)
	return &firstReadConn{Conn: conn, read: sync.OnceFunc(l.unread.Done)}, nil
}

// Close closes the listener once: fasthttp's Shutdown ends early if that fails.
func (l *slowListener) Close() error { return l.close() }

// settle closes the listener, and returns when every connection is read from.
func (l *slowListener) settle() {
	l.Close()
	<-l.ended
	l.unread.Wait()
}

// A firstReadConn tells when it is read from, or closed.
type firstReadConn struct {
	net.Conn
	read func()
}

func (c *firstReadConn) Read(b []byte) (int, error) {
	c.read()
	return c.Conn.Read(b)
}

func (c *firstReadConn) Close() error {
	c.read()
	return c.Conn.Close()
}

func startGRPC(ln net.Listener) (stop func()) {
	srv := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	go srv.Serve(ln)
	return srv.GracefulStop
}

// askGRPC makes a call on a connection of its own.
func askGRPC(address string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return err
}

func startFastHTTP(ln net.Listener) (stop func()) {
	srv := &fasthttp.Server{
		Handler:         func(ctx *fasthttp.RequestCtx) { ctx.WriteString("answer") },
		CloseOnShutdown: true,
	}
	go srv.Serve(ln)
	return func() { srv.Shutdown() }
}

// askHTTP makes a request that net/http's client does not repeat, on a
// connection of its own.
func askHTTP(address string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	response, err := client.Post("http://"+address, "text/plain", io.NopCloser(strings.NewReader("question")))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && string(body) != "answer" {
		err = errors.New(response.Status)
	}
	return err
}
