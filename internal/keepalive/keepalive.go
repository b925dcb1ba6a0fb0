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
	"syscall"
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
	return listen(ctx, &config, network, address, set) // set: keepalive_linux.go
}

// listen is Listen with the options that set sets. It changes config.
func listen(ctx context.Context, config *net.ListenConfig, network, address string, set func(fd uintptr) error) (net.Listener, error) {
	next := config.Control
	var refused error
	config.KeepAlive = -1
	config.Control = func(network, address string, c syscall.RawConn) error {
		// Package net tries plain TCP where a Multipath TCP listener fails. It
		// is not to get one because of this: so the second call fails, too.
		if refused != nil {
			return refused
		}
		if err := c.Control(func(fd uintptr) { refused = set(fd) }); err != nil {
			return err
		}
		if refused != nil || next == nil {
			return refused
		}
		return next(network, address, c)
	}
	ln, err := config.Listen(ctx, network, address)
	if refused != nil {
		config.KeepAlive, config.Control = 0, next
		return config.Listen(ctx, network, address)
	}
	return ln, err
}
