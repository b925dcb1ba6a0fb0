//go:build !linux

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
)

type socket struct{}

func listen(network, address string) (*net.TCPListener, socket, error) {
	return nil, socket{}, unsupported(network, address)
}

func listenPacket(network, address string) (*net.UDPConn, socket, error) {
	return nil, socket{}, unsupported(network, address)
}

func unsupported(network, address string) error {
	return &net.OpError{Op: "listen", Net: network, Addr: literalAddr{network, address}, Err: errSystem}
}

// A literalAddr is an address as the caller wrote it.
type literalAddr struct{ network, address string }

func (a literalAddr) Network() string { return a.network }
func (a literalAddr) String() string  { return a.address }

func adopt(*net.TCPListener) (socket, error) { return socket{}, errSystem }

func (*socket) drain(context.Context) error { return errSystem }

func (*socket) leave() {}

var errSystem = fmt.Errorf("handover on this system: %w", errors.ErrUnsupported)
