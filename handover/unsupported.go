//go:build !linux

package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"example.com/reuse"
)

var errSystem = fmt.Errorf("handover on this system: %w", errors.ErrUnsupported)

// A member is a socket that cannot be drained.
type member struct{}

func listen(network, address string) (tcp *net.TCPListener, m *member, bound bool, err error) {
	ln, err := reuse.Port.Listen(network, address)
	if errors.Is(err, errors.ErrUnsupported) {
		ln, err = reuse.Listen(network, address)
	}
	if err != nil {
		return nil, nil, false, err
	}
	tcp, err = tcpOf(ln, network)
	return tcp, &member{}, false, err
}

func listenPacket(network, address string) (*net.UDPConn, *member, error) {
	udp, err := openPacket(network, address)
	return udp, &member{}, err
}

func adopt(syscall.Conn) (*member, error) { return nil, errSystem }

func adoptRaw(syscall.RawConn) (*member, error) { return nil, errSystem }

func drainThen(context.Context, func(), ...Drainable) error { return errSystem }

func supported(string) error { return errSystem }

func (*member) listen() error { return nil }

func (*member) hasLeft() bool { return false }

func (*member) leave() error { return nil }

func (*member) empty(context.Context, bool) {}

func (*member) hold(context.Context, float64) error { return errSystem }

func (*member) resume(context.Context) error { return errSystem }
