package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

var (
	_ net.PacketConn = (*PacketConn)(nil)
	_ Drainable      = (*PacketConn)(nil)
)

// A PacketConn is a UDP socket that can be drained. Close it by its own method.
type PacketConn struct {
	*net.UDPConn
	m *member

	closing  sync.Once
	closeErr error
}

// ListenPacket opens a UDP socket as reuse.Port.ListenPacket does, and joins
// whoever has the port already. Networks are "udp", "udp4" and "udp6". It takes away
// what program the group has, unless somebody drains.
//
// Where sockets cannot be drained it is reuse.Port.ListenPacket or, where that is not
// supported either, reuse.ListenPacket; Drain says why.
func ListenPacket(network, address string) (*PacketConn, error) {
	pc, m, err := listenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return &PacketConn{UDPConn: pc, m: m}, nil
}

// NewPacket adopts a UDP socket, as [New] does a listener.
func NewPacket(pc *net.UDPConn) (*PacketConn, error) {
	m, err := adopt(pc)
	if err != nil {
		return nil, fmt.Errorf("handover of %v: %w", pc.LocalAddr(), err)
	}
	return &PacketConn{UDPConn: pc, m: m}, nil
}

// Drain makes all datagrams that arrive go to the other sockets of the group, and
// returns nil when none is left that closing the socket would lose. The
// application reads meanwhile, and has to answer what it has read before it closes
// the socket. Errors are those of [Listener.Drain].
func (pc *PacketConn) Drain(ctx context.Context) error {
	if err := drainThen(ctx, nil, pc); err != nil {
		return fmt.Errorf("handover of %v: %w", pc.LocalAddr(), err)
	}
	return nil
}

func (pc *PacketConn) members() []*member { return []*member{pc.m} }

// Close closes the socket, as [Listener.Close] does. One of IPv6 that is drained
// makes a call of connect, which fails, and by which packets find it no longer.
func (pc *PacketConn) Close() error {
	pc.closing.Do(func() { pc.closeErr = errors.Join(pc.m.leave(), pc.UDPConn.Close()) })
	return pc.closeErr
}
