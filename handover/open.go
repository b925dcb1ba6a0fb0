package handover

import (
	"errors"
	"net"

	"example.com/reuse"
)

// tcpOf returns ln, which may be of a network that is not TCP's. Then it is closed.
func tcpOf(ln net.Listener, network string) (*net.TCPListener, error) {
	if tcp, ok := ln.(*net.TCPListener); ok {
		return tcp, nil
	}
	ln.Close()
	return nil, &net.OpError{Op: "listen", Net: network, Addr: ln.Addr(), Err: net.UnknownNetworkError(network)}
}

// openPacket opens a UDP socket that shares its port, where the system has that.
func openPacket(network, address string) (*net.UDPConn, error) {
	pc, err := reuse.Port.ListenPacket(network, address)
	if errors.Is(err, errors.ErrUnsupported) {
		pc, err = reuse.ListenPacket(network, address)
	}
	if err != nil {
		return nil, err
	}
	if udp, ok := pc.(*net.UDPConn); ok {
		return udp, nil
	}
	pc.Close()
	return nil, &net.OpError{Op: "listen", Net: network, Addr: pc.LocalAddr(), Err: net.UnknownNetworkError(network)}
}
