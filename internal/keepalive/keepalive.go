// Package keepalive opens TCP listeners whose connections have package net's
// keep-alive, without the four system calls by which net sets it on each.
//
// On Linux a connection inherits these options from its listener, where it is
// made of it (sk_clone, tcp_create_openreq_child, which starts the timer, too).
// So they are set there, once, and net is told to leave them alone.
package keepalive

import (
	"context"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What net sets if neither KeepAlive nor KeepAliveConfig says anything.
const (
	idle     = 15 * time.Second
	interval = 15 * time.Second
	count    = 9
)

// Listen is config.Listen. If network is TCP's and connections inherit the
// options, the listener holds those that net sets by default. The KeepAlive and
// KeepAliveConfig of config are not set.
//
// Where the kernel refuses an option, the listener is the one that net opens.
func Listen(ctx context.Context, config net.ListenConfig, network, address string) (net.Listener, error) {
	if !Inherited() || !strings.HasPrefix(network, "tcp") {
		return config.Listen(ctx, network, address)
	}
	h := hooks.Get().(*hook)
	defer hooks.Put(h)
	return h.listen(ctx, config, network, address)
}

func (h *hook) listen(ctx context.Context, config net.ListenConfig, network, address string) (net.Listener, error) {
	h.next, h.refused = config.Control, nil
	config.Control, config.KeepAlive = h.control, -1
	ln, err := config.Listen(ctx, network, address)
	config.Control, config.KeepAlive = h.next, 0
	h.next = nil
	if h.refused != nil {
		return config.Listen(ctx, network, address)
	}
	return ln, err
}

// A hook is a Control function with its result. It and what it calls back
// escape; the pool spares every Listen the allocations.
type hook struct {
	next    func(network, address string, c syscall.RawConn) error
	refused error
	control func(network, address string, c syscall.RawConn) error
	set     func(fd uintptr)
}

var hooks = sync.Pool{New: func() any {
	h := new(hook)
	h.control = h.run
	h.set = func(fd uintptr) { h.refused = set(fd) }
	return h
}}

func (h *hook) run(network, address string, c syscall.RawConn) error {
	// Package net tries plain TCP where a Multipath TCP listener fails. It is
	// not to get one because of this: so the second call fails, too.
	if h.refused != nil {
		return h.refused
	}
	if err := c.Control(h.set); err != nil {
		return err
	}
	if h.refused != nil || h.next == nil {
		return h.refused
	}
	return h.next(network, address, c)
}
