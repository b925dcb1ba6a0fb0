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
func testServer(t *testing.T, start func(net.Listener) (stop func()), ask askFunc) {
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

// An askFunc gets an answer on a connection of its own.
type askFunc func(address string, dial dialFunc) error

type dialFunc func(ctx context.Context, address string) (net.Conn, error)

// replace replaces a server five times under the load of 32 clients, of which some
// are in its queue then.
func replace(t *testing.T, start func(net.Listener) (stop func()), ask askFunc, drain bool) (answered, lost int64) {
	t.Helper()
	ln, err := handover.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	held := newHeldListener(ln)
	stop := start(held)

	var holding atomic.Bool
	queued := make(chan struct{}) // somebody connected since holding
	dial := func(ctx context.Context, address string) (net.Conn, error) {
		since := holding.Load()
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil && since {
			select {
			case queued <- struct{}{}:
			default:
			}
		}
		return conn, err
	}
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
				if err := ask(address, dial); err == nil {
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
		held.hold()
		holding.Store(true)
		for range 2 { // one may still be accepted
			<-queued
		}
		holding.Store(false)
		next, err := handover.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		heldNext := newHeldListener(next)
		stopNext := start(heldNext)
		if drain {
			held.release()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := ln.Drain(ctx)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			held.settle()
		}
		stop()
		ln, stop, held = next, stopNext, heldNext
	}
	return // the deferred function sets the results
}

// A heldListener leaves connections in the queue while it is held. It knows which
// connections its server has accepted but not begun to read from: gRPC's
// GracefulStop closes those unread (handleRawConn), whatever became of the
// listener. So settle stands between Drain and the stop.
type heldListener struct {
	net.Listener
	gate    atomic.Pointer[chan struct{}]
	release func() // closes it
	unread  sync.WaitGroup
	ended   chan struct{} // the accept loop has
	end     func()
	close   func() error
}

func newHeldListener(ln net.Listener) *heldListener {
	l := &heldListener{Listener: ln, ended: make(chan struct{})}
	l.hold()
	l.release()
	l.end = sync.OnceFunc(func() { close(l.ended) })
	l.close = sync.OnceValue(ln.Close)
	return l
}

func (l *heldListener) hold() {
	gate := make(chan struct{})
	l.release = sync.OnceFunc(func() { close(gate) })
	l.gate.Store(&gate)
}

func (l *heldListener) Accept() (net.Conn, error) {
	<-*l.gate.Load()
	conn, err := l.Listener.Accept()
	if err != nil {
		l.end()
		return nil, err
	}
	l.unread.Add(1)
	return &firstReadConn{Conn: conn, read: sync.OnceFunc(l.unread.Done)}, nil
}

// Close closes the listener once: fasthttp's Shutdown ends early if that fails.
func (l *heldListener) Close() error {
	err := l.close()
	l.release()
	return err
}

// settle closes the listener, and returns when every connection is read from.
func (l *heldListener) settle() {
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

func askGRPC(address string, dial dialFunc) error {
	conn, err := grpc.NewClient(address, grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
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

// askHTTP makes a request that net/http's client does not repeat.
func askHTTP(address string, dial dialFunc) error {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address) },
	}}
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
