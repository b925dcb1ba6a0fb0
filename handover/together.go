package handover

import (
	"context"
	"fmt"
	"net"
)

// DrainAll is Drain for several sockets of one port, those of a shard for
// example, all at once: new connections, or datagrams, go to the others of the
// group only, and when it returns nil, none is left that closing all of them would
// lose. Then close all, one after the other; the application goes on accepting,
// or reading, from each until it is closed.
//
// Errors are those of [Listener.Drain]. [ErrNoSuccessor] holds if there are no others
// than the sockets given. After an error other than the end of ctx all serve on.
func DrainAll[S interface{ *Listener | *PacketConn }](ctx context.Context, socks ...S) error {
	if len(socks) == 0 {
		return nil
	}
	var all []socket
	var addr net.Addr
	for _, s := range socks {
		switch s := any(s).(type) {
		case *Listener:
			all, addr = append(all, s.sock), s.Addr()
		case *PacketConn:
			all, addr = append(all, s.sock), s.LocalAddr()
		}
	}
	if err := drainAll(ctx, all); err != nil {
		return fmt.Errorf("handover of %d sockets at %v: %w", len(all), addr, err)
	}
	return nil
}
