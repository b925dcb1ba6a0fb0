package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A request and its answer, over TCP and UDP.
const (
	question = "ping\n"
	answer   = "pong\n"
)

// patience bounds everything that waits for the other side.
const patience = 20 * time.Second

// application opens the scenario's socket in this way and serves on it.
func (w *way) application(s scenario) (application, error) {
	if s.Shard > 0 {
		return w.shards(s)
	}
	if s.Kind == "udp" {
		conn, err := w.listenPacket(s.Network, s.Address)
		if err != nil {
			return nil, err
		}
		a := &datagrams{way: w, conn: conn, done: make(chan struct{})}
		go a.run()
		return a, nil
	}
	listen := w.listen
	if s.Habits != nil && s.Habits.Activated {
		listen = inherited
	}
	ln, err := listen(s.Network, s.Address)
	if err != nil {
		return nil, err
	}
	if err := prepare(ln, s); err != nil {
		return nil, err
	}
	a, err := w.serving(ln, s)
	if err != nil {
		return nil, err
	}
	return a, listening(ln)
}

// serving serves on a listener.
func (w *way) serving(ln net.Listener, s scenario) (application, error) {
	switch {
	case s.Habits != nil:
		return newService(w, ln, s)
	case s.Kind == "http":
		return newWeb(w, ln), nil
	}
	a := &stream{way: w, ln: ln}
	a.serving.Add(1)
	go a.run(s.AcceptEvery)
	return a, nil
}

// A stream answers one question on each connection.
type stream struct {
	way     *way
	ln      net.Listener
	serving sync.WaitGroup
}

func (a *stream) run(every time.Duration) {
	defer a.serving.Done()
	for {
		conn, err := a.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was faster
		}
		a.serving.Add(1)
		go a.answer(conn)
		time.Sleep(every)
	}
}

func (a *stream) answer(conn net.Conn) {
	defer a.serving.Done()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil && line == question {
		io.WriteString(conn, answer)
	}
}

func (a *stream) leave(ctx context.Context) error {
	if err := a.way.before(ctx, a.ln); err != nil {
		return err
	}
	return a.ln.Close()
}

func (a *stream) finish(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		a.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A web is an HTTP server. One request in ten takes a while.
type web struct{ srv webServer }

// slowPath is what takes a while.
const slowPath = "/slow"

func newWeb(w *way, ln net.Listener) *web {
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == slowPath {
			time.Sleep(30 * time.Millisecond)
		}
		io.WriteString(rw, answer)
	})}
	a := &web{w.web(srv, ln)}
	go a.srv.Serve(ln)
	return a
}

func (a *web) leave(ctx context.Context) error { return a.srv.Shutdown(ctx) }
func (a *web) finish(context.Context) error    { return nil }

// datagrams answers every datagram with itself.
type datagrams struct {
	way  *way
	conn net.PacketConn
	done chan struct{}
}

func (a *datagrams) run() {
	defer close(a.done)
	buf := make([]byte, 2048)
	for {
		n, from, err := a.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		a.conn.WriteTo(buf[:n], from)
	}
}

func (a *datagrams) leave(ctx context.Context) error {
	if err := a.way.before(ctx, a.conn); err != nil {
		return err
	}
	// What was read is answered; what was not is the strategy's loss.
	a.conn.SetReadDeadline(time.Now())
	<-a.done
	return a.conn.Close()
}

func (a *datagrams) finish(context.Context) error { return nil }
