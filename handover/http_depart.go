package handover

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// A departure is that of a server from its listeners.
type departure struct {
	accepted []*handed     // one for each listener
	done     chan struct{} // closed when all are closed, or stopped

	mu       sync.Mutex
	errs     []error
	unserved int // connections in queues that were closed
}

// steer steers new connections away from the listeners, where there is somebody
// else. After an error nothing has changed.
func (s *HTTPServer) steer(ctx context.Context) (*departure, error) {
	gates := s.served()
	if h, ok := s.Handler.(*httpHandler); len(gates) > 0 && (!ok || h.s != s) {
		return nil, errors.New("handover: the server's Handler was replaced after Serve had begun: set it before")
	}
	var lns []*Listener
	var shared []*stoppable
	var leaves []func(context.Context, *departure)
	var accepted []*handed
	seen := map[net.Listener]bool{}
	for _, g := range gates {
		if seen[g.root] || g.closed() {
			continue
		}
		seen[g.root] = true
		accepted = append(accepted, g.accepted())
		switch root := g.root.(type) {
		case *Listener:
			if !root.handed.left.Load() {
				lns = append(lns, root)
			}
		case *stoppable:
			shared = append(shared, root)
		default:
			if s.NeedSuccessor {
				return nil, g.adopted
			}
			leaves = append(leaves, g.closeEmpty)
		}
	}
	drains, err := drainEach(ctx, lns, s.NeedSuccessor)
	if err != nil {
		return nil, err
	}
	for _, g := range gates {
		g.stopped.Store(true)
	}
	for _, drain := range drains {
		leaves = append(leaves, drain.leave)
	}
	for _, root := range shared {
		err := root.stop()
		leaves = append(leaves, func(_ context.Context, d *departure) {
			d.note(err, 0)
			root.handed.settle()
		})
	}
	d := s.depart(ctx, leaves)
	d.accepted = accepted
	return d, nil
}

// depart calls leaves, side by side.
func (s *HTTPServer) depart(ctx context.Context, leaves []func(context.Context, *departure)) *departure {
	d := &departure{done: make(chan struct{})}
	// A queue that does not get empty, since the server does not accept, is not
	// waited for longer than a client is.
	ctx, cancel := context.WithTimeout(ctx, s.grace()+s.times.linger)
	var leaving sync.WaitGroup
	for _, leave := range leaves {
		leaving.Go(func() { leave(ctx, d) })
	}
	go func() {
		leaving.Wait()
		cancel()
		close(d.done)
		s.notify()
	}()
	return d
}

func (d *departure) note(err error, unserved int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.errs = append(d.errs, err)
	}
	d.unserved += unserved
}

// closeEmpty closes a listener that nobody takes over.
func (g *gate) closeEmpty(ctx context.Context, d *departure) {
	queueEmpty(ctx, g.root)
	if g.Listener == g.root {
		left, err := g.handed.close(g.root, g.root.Close)
		d.note(err, left)
		return
	}
	// A wrapper can be in Accept, and wait for something else.
	left := queueLength(g.root)
	d.note(g.root.Close(), left)
}

// queueEmpty waits until the server has accepted what is in a listener's queue.
func queueEmpty(ctx context.Context, ln net.Listener) {
	// The kernel tells nobody when a queue is empty.
	for delay := time.Millisecond; queueLength(ln) > 0; delay = min(2*delay, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

func queueLength(ln net.Listener) int {
	if conn, ok := ln.(syscall.Conn); ok {
		return queued(conn)
	}
	return 0
}

// An httpDrain is a Drain of listeners that has steered, or failed.
type httpDrain struct {
	lns      []*Listener
	finished chan error
	need     bool
}

// drainEach begins to drain lns, all of them at once or, if that fails for some of
// them, those of each address. It returns an error if nothing has changed and the
// server has to serve on.
func drainEach(ctx context.Context, lns []*Listener, need bool) ([]*httpDrain, error) {
	if len(lns) == 0 {
		return nil, nil
	}
	d, err := beginDrain(ctx, lns, need)
	if err != nil && (need || !noSuccessor(err) && ctx.Err() == nil) {
		return nil, err
	}
	groups := map[string][]*Listener{}
	for _, l := range lns {
		key := l.Addr().Network() + " " + l.Addr().String()
		groups[key] = append(groups[key], l)
	}
	if err == nil || len(groups) == 1 {
		return []*httpDrain{d}, nil
	}
	var drains []*httpDrain
	for _, lns := range groups {
		d, _ := beginDrain(ctx, lns, need)
		drains = append(drains, d)
	}
	return drains, nil
}

// beginDrain returns when new connections go to others. After an error that is what
// the drain ends with, too.
func beginDrain(ctx context.Context, lns []*Listener, need bool) (*httpDrain, error) {
	d := &httpDrain{lns, make(chan error, 1), need}
	steered := make(chan struct{})
	socks := make([]Drainable, len(lns))
	for i, l := range lns {
		socks[i] = l
	}
	go func() { d.finished <- drainThen(ctx, func() { close(steered) }, socks...) }()
	select {
	case <-steered:
		return d, nil
	case err := <-d.finished:
		d.finished <- err
		return d, err
	}
}

// noSuccessor reports whether a Drain failed since there is nobody to hand over to, or no
// way.
func noSuccessor(err error) bool {
	return errors.Is(err, ErrNoSuccessor) || errors.Is(err, errors.ErrUnsupported)
}

// leave waits for the end of the drain, and closes the listeners.
func (h *httpDrain) leave(ctx context.Context, d *departure) {
	err := <-h.finished
	if h.need || !noSuccessor(err) {
		d.note(err, 0)
	}
	for _, l := range h.lns {
		if err != nil {
			l.empty(ctx)
			queueEmpty(ctx, l)
		}
		left, err := l.handed.close(l, l.leave)
		d.note(err, left)
		l.handed.left.Store(true)
	}
}
