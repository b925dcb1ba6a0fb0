package main

import (
	"context"
	"net"
	"net/http"

	"example.com/reuse/handover"
)

// handOver makes w that of package handover.
func (w *way) handOver() {
	w.listen = func(network, address string) (net.Listener, error) { return handover.Listen(network, address) }
	w.listenPacket = func(network, address string) (net.PacketConn, error) {
		return handover.ListenPacket(network, address)
	}
	w.before = func(ctx context.Context, socket any) error {
		return socket.(interface{ Drain(context.Context) error }).Drain(ctx)
	}
	w.beforeAll = drainAll
	w.shared = handover.Shared
	w.web = func(srv *http.Server, _ net.Listener) webServer {
		return &handover.HTTPServer{Server: srv}
	}
}
