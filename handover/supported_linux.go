package handover

import (
	"context"
	"net"
	"time"
)

// supported hands a port of its own over, from one socket to another.
func supported(network string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	switch network {
	case "tcp", "tcp4", "tcp6":
		old, next, err := pair(func(address string) (*Listener, error) { return Listen(network, address) }, (*Listener).Addr)
		if err != nil {
			return err
		}
		defer next.Close()
		defer old.Close()
		if err := next.listen(); err != nil {
			return err
		}
		if err := drainThen(ctx, nil, old); err != nil {
			return err
		}
		return old.Close()
	case "udp", "udp4", "udp6":
		old, next, err := pair(func(address string) (*PacketConn, error) { return ListenPacket(network, address) }, (*PacketConn).LocalAddr)
		if err != nil {
			return err
		}
		defer next.Close()
		defer old.Close()
		if err := drainThen(ctx, nil, old); err != nil {
			return err
		}
		return old.Close()
	}
	return net.UnknownNetworkError(network)
}

// pair opens two sockets on one port of the loopback address.
func pair[S Drainable](listen func(address string) (S, error), addr func(S) net.Addr) (old, next S, err error) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		if old, err = listen(address); err == nil {
			break
		}
	}
	if err != nil {
		return old, next, err
	}
	if next, err = listen(addr(old).String()); err != nil {
		old.Close()
	}
	return old, next, err
}
