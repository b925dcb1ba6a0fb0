package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"example.com/reuse"
	"github.com/cloudflare/tableflip"
	"golang.org/x/sys/unix"
)

// A way is how a server process with a certain strategy opens its socket and
// what it does before it closes it.
type way struct {
	listen       func(network, address string) (net.Listener, error)
	listenPacket func(network, address string) (net.PacketConn, error)
	ready        func() error
	// before is called with the listener or packet socket; it is closed
	// after. On error it is kept.
	before func(ctx context.Context, socket any) error
	// beforeAll is before for all sockets of a shard.
	beforeAll func(ctx context.Context, sockets []any) error
	// shared marks a listener whose socket others have, too.
	shared func(net.Listener) net.Listener
	// web returns an HTTP server for a listener.
	web func(srv *http.Server, ln net.Listener) webServer
}

// A webServer is an HTTP server. Shutdown ends it, with its listener.
type webServer interface {
	Serve(net.Listener) error
	ServeTLS(ln net.Listener, certFile, keyFile string) error
	Shutdown(context.Context) error
	Draining() <-chan struct{}
}

// A plainServer leaves its listener as before does.
type plainServer struct {
	*http.Server
	ln       net.Listener
	before   func(context.Context, any) error
	draining chan struct{}
}

func newPlainServer(srv *http.Server, ln net.Listener, before func(context.Context, any) error) *plainServer {
	s := &plainServer{srv, ln, before, make(chan struct{})}
	srv.RegisterOnShutdown(func() { close(s.draining) })
	return s
}

func (s *plainServer) Shutdown(ctx context.Context) error {
	if err := s.before(ctx, s.ln); err != nil {
		return err
	}
	if err := s.Server.Shutdown(ctx); err != nil {
		return &stoppedError{err}
	}
	return nil
}

func (s *plainServer) Draining() <-chan struct{} { return s.draining }

func newWay(c serverConfig) (*way, error) {
	w := &way{
		listen:       reuse.Port.Listen,
		listenPacket: reuse.Port.ListenPacket,
		ready:        func() error { return nil },
		before:       func(context.Context, any) error { return nil },
		beforeAll:    func(context.Context, []any) error { return nil },
		shared:       func(ln net.Listener) net.Listener { return ln },
	}
	w.web = func(srv *http.Server, ln net.Listener) webServer { return newPlainServer(srv, ln, w.before) }
	switch c.Strategy {
	case "stop-start":
		// Workers that are replaced one by one share the port all the same.
		if c.Scenario.Workers == 1 && c.Scenario.Shard == 0 {
			w.listen, w.listenPacket = reuse.Listen, reuse.ListenPacket
		}
	case "descriptors":
		return w, w.passDescriptors()
	case "handover":
		w.handOver()
	case "none", "close", "migrate":
	default:
		return nil, errors.New("no strategy " + c.Strategy)
	}
	return w, nil
}

// passDescriptors makes w that of cloudflare/tableflip.
func (w *way) passDescriptors() error {
	upgrader, err := tableflip.New(tableflip.Options{
		UpgradeTimeout: 20 * time.Second,
		ListenConfig:   reuse.Port.ListenConfig(),
	})
	if err != nil {
		return err
	}
	w.listen, w.listenPacket, w.ready = upgrader.Listen, upgrader.ListenPacket, upgrader.Ready
	w.before = func(ctx context.Context, _ any) error {
		if err := upgrader.WaitForParent(ctx); err != nil {
			return err
		}
		return upgrader.Upgrade()
	}
	return nil
}

// prepare sets what a scenario wants of a listener.
func prepare(ln net.Listener, s scenario) error {
	conn, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		if s.DeferAccept {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 5)
		}
		if s.Backlog > 0 && failed == nil {
			failed = unix.Listen(int(fd), s.Backlog)
		}
	})
	return errors.Join(err, failed)
}
