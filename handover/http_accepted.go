package handover

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A handed has the connections that Accept of a listener has returned and that
// the server does not serve yet. Some may be in the hands of a listener that wraps
// it, and will never be served.
type handed struct {
	watched   atomic.Bool // an HTTPServer serves the listener
	left      atomic.Bool // an HTTPServer has closed its socket
	accepting sync.RWMutex
	conns     openConns
	count     atomic.Int64 // of all connections
}

// acceptNoted calls accept, and notes the connection.
func acceptNoted[C net.Conn](h *handed, accept func() (C, error)) (C, error) {
	if !h.watched.Load() {
		return accept()
	}
	h.accepting.RLock()
	defer h.accepting.RUnlock()
	c, err := accept()
	if err == nil {
		h.count.Add(1)
		if raw := rawConn(c); raw != nil {
			h.conns.add(raw)
		}
	}
	return c, err
}

// settle returns when all connections that were accepted are noted. The listener is
// stopped: no call of accept waits for another connection.
func (h *handed) settle() {
	h.accepting.Lock()
	defer h.accepting.Unlock()
}

// close calls close, and returns how many connections were left in the queue of ln
// then.
func (h *handed) close(ln net.Listener, close func() error) (left int, err error) {
	before := int64(-1)
	for before != h.count.Load() { // Accept took one meanwhile
		before = h.count.Load()
		left = queueLength(ln)
	}
	err = close()
	h.settle()
	return max(left-int(h.count.Load()-before), 0), err
}

// openConns is a set of connections that others close.
type openConns struct {
	mu    sync.Mutex
	conns map[syscall.Conn]time.Time // when they were added
	swept int                        // what was left of them when they were looked at
}

func (o *openConns) add(c syscall.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns == nil {
		o.conns = map[syscall.Conn]time.Time{}
	}
	o.conns[c] = time.Now()
	if len(o.conns) > 2*o.swept+64 {
		o.sweep()
	}
}

func (o *openConns) remove(c syscall.Conn) {
	o.mu.Lock()
	delete(o.conns, c)
	o.mu.Unlock()
}

// sweep removes those that are closed. The caller has the lock.
func (o *openConns) sweep() {
	for c := range o.conns {
		if connClosed(c) {
			delete(o.conns, c)
		}
	}
	o.swept = len(o.conns)
}

// open returns those that are not closed, with the time at which each was added.
func (o *openConns) open() map[syscall.Conn]time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sweep()
	open := make(map[syscall.Conn]time.Time, len(o.conns))
	for c, t := range o.conns {
		open[c] = t
	}
	return open
}

func connClosed(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	return err != nil || errors.Is(raw.Control(func(uintptr) {}), net.ErrClosed)
}
