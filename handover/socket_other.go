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
	return nil, socket{}, &net.OpError{Op: "listen", Net: network, Err: errSystem}
}

func listenPacket(network, address string) (*net.UDPConn, socket, error) {
	return nil, socket{}, &net.OpError{Op: "listen", Net: network, Err: errSystem}
}

func adopt(*net.TCPListener) (socket, error) { return socket{}, errSystem }

func (*socket) drain(context.Context) error { return errSystem }

func (*socket) leave() {}

var errSystem = fmt.Errorf("handover on this system: %w", errors.ErrUnsupported)

func received(net.Conn) (n int64, ok bool) { return 0, false }
