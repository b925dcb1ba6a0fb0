package handover

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoSuccessor is the error of a Drain that finds nobody to hand over to, or no
// longer: the socket serves on as before. A successor shares the port if it has
// the same address, family, device and user, and IPV6_V6ONLY as well.
var ErrNoSuccessor = errors.New("nobody else listens there")

// ErrUnknownSlot is the error of a Drain that cannot learn which member of its group
// the socket is, and so cannot keep packets away from it: the socket serves on as
// before. The error tells why. Known reasons are SO_INCOMING_CPU on the members; a
// port that the process may not bind any more, below ip_unprivileged_port_start
// without CAP_NET_BIND_SERVICE; and a sandbox without SO_BINDTOIFINDEX.
var ErrUnknownSlot = errors.New("the socket's slot in its group is unknown")

// A Drainable is a [Listener], a [PacketConn] or a [Member], or embeds one.
type Drainable interface {
	Drain(context.Context) error
	Close() error
	members() []*member
}

// DrainAll is Drain for several sockets at once, of one port or several, listeners
// and UDP sockets: new connections, and datagrams, go to others only, and when it
// returns nil, none is left that closing all of them would lose. Then close all;
// until then the application goes on accepting and reading from each. The first
// Close takes all listeners out of their groups.
//
// Errors are those of [Listener.Drain]. [ErrNoSuccessor] holds if one of the ports
// has no others than the sockets given. After an error other than the end of ctx all
// serve on. If ctx ended, drain all of them again, or close them.
func DrainAll(ctx context.Context, socks ...Drainable) error {
	if err := drainThen(ctx, nil, socks...); err != nil {
		return fmt.Errorf("handover of %d sockets: %w", len(socks), err)
	}
	return nil
}

// Supported returns nil if sockets of a network, "tcp" or "udp", can be drained here,
// so that a server can say so before its first restart. It tries, with two sockets on
// a free port of the loopback address, and takes some 50 ms.
//
// Otherwise the error names what refused, and the cure, and errors.Is(err,
// errors.ErrUnsupported) holds if it was the system or a sandbox.
func Supported(network string) error {
	if err := supported(network); err != nil {
		return fmt.Errorf("handover of %s sockets: %w", network, err)
	}
	return nil
}
