package main

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// In a bubble time passes only when all goroutines wait, so these durations are
// exact.
func TestCut(t *testing.T) {
	for _, test := range []struct {
		name   string
		client func(conn net.Conn)
		want   time.Duration // from the end of ctx until handle returns
	}{
		{"silent", func(conn net.Conn) {}, 0},
		{"stuck", func(conn net.Conn) {
			conn.Write([]byte("abc"))
		}, grace},
		{"slow", func(conn net.Conn) {
			conn.Write([]byte("abc"))
			time.AfterFunc(grace/2, func() {
				got, err := io.ReadAll(conn)
				if string(got) != "ABC" || err != nil {
					t.Errorf("the last answer: %q, %v", got, err)
				}
			})
		}, grace / 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				client, server := net.Pipe()
				done := make(chan struct{})
				go func() {
					handle(ctx, server)
					close(done)
				}()
				test.client(client)
				synctest.Wait()
				cancel()
				start := time.Now()
				<-done
				if took := time.Since(start); took != test.want {
					t.Errorf("handle returned after %v, want %v", took, test.want)
				}
				synctest.Wait()
				client.Close()
			})
		})
	}
}

// A connection that is accepted when ctx has ended is cut as well.
func TestCutLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, server := net.Pipe()
		start := time.Now()
		handle(ctx, server)
		if took := time.Since(start); took != 0 {
			t.Errorf("handle returned after %v", took)
		}
	})
}

func TestOnDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	onDone(ctx, func() { t.Error("called although it was called off") })()

	called := false
	started := make(chan struct{})
	stop := onDone(ctx, func() {
		close(started)
		runtime.Gosched()
		called = true
	})
	cancel()
	<-started
	if stop(); !called {
		t.Error("stop returned before the function did")
	}
}

// A fakeListener's Accept takes its results from a channel.
type fakeListener struct {
	results chan any // a net.Conn or an error
	closed  chan struct{}
	once    sync.Once
}

func newFakeListener() *fakeListener {
	return &fakeListener{results: make(chan any), closed: make(chan struct{})}
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case r := <-l.results:
		if err, ok := r.(error); ok {
			return nil, err
		}
		return r.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *fakeListener) Addr() net.Addr { return nil }

// Errors of Accept slow the server down, and do not end it.
func TestAcceptErrors(t *testing.T) {
	ownLog(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln := newFakeListener()
		done := make(chan error)
		go func() { done <- serve(ctx, ln) }()
		full := errors.New("accept: too many open files")
		ms := time.Millisecond
		ln.results <- full
		for _, want := range []time.Duration{5 * ms, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, time.Second, time.Second} {
			start := time.Now()
			ln.results <- full
			if took := time.Since(start); took != want {
				t.Errorf("next Accept after %v, want %v", took, want)
			}
		}
		client, server := net.Pipe()
		ln.results <- server
		client.Write([]byte("abc"))
		got := make([]byte, 3)
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "ABC" {
			t.Errorf("%q, %v", got, err)
		}
		client.Close()
		// The connection has put the delay back. The end of ctx does not wait
		// for the next.
		ln.results <- full
		start := time.Now()
		ln.results <- full
		if took := time.Since(start); took != 5*ms {
			t.Errorf("next Accept after %v, want 5ms", took)
		}
		synctest.Wait()
		start = time.Now()
		cancel()
		if err := <-done; err != nil || time.Since(start) != 0 {
			t.Errorf("serve: %v, after %v", err, time.Since(start))
		}
	})
}

// serve stops accepting at once, and returns when its last handler has.
func TestServeWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln := newFakeListener()
		done := make(chan error)
		go func() { done <- serve(ctx, ln) }()
		for range 3 {
			client, server := net.Pipe()
			ln.results <- server
			client.Write([]byte("abc")) // and does not read
		}
		synctest.Wait()
		start := time.Now()
		cancel()
		<-ln.closed
		if took := time.Since(start); took != 0 {
			t.Errorf("the listener was closed after %v", took)
		}
		if err := <-done; err != nil || time.Since(start) != grace {
			t.Errorf("serve: %v, after %v, want nil after %v", err, time.Since(start), grace)
		}
	})
}
