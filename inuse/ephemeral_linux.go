package inuse

import (
	"context"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// ephemeral tells connections that were dialled from those that were accepted.
type ephemeral struct {
	low, high uint16
	listening map[uint16]bool // ports on which somebody on this host listens
}

func (l *look) ephemeral(ctx context.Context) ephemeral {
	e := ephemeral{listening: map[uint16]bool{}}
	e.low, e.high = proc.PortRange()
	if len(l.others) > 0 {
		listeners, err := l.kernel.sockets(ctx, sockdiag.Request{Protocol: l.target.protocol, States: sockdiag.Set(sockdiag.Listen)})
		if err != nil && l.blind == nil {
			l.blind = err
		}
		for _, s := range listeners {
			e.listening[s.Local.Port()] = true
		}
	}
	return e
}

func (e ephemeral) has(port uint16) bool { return e.low <= port && port <= e.high }

// client reports whether s is a connection that was probably dialled from here,
// with a port that the kernel chose. Nothing tells for sure, but of one that is not yet
// connected. Its port is one of
// those that the kernel chooses from; and the other's is not, or is one where
// somebody on this host listens.
func (e ephemeral) client(s sockdiag.Socket) bool {
	if s.State == sockdiag.SynSent {
		return true
	}
	if s.Remote.Port() == 0 || !e.has(s.Local.Port()) {
		return false
	}
	return s.Protocol == unix.IPPROTO_UDP || !e.has(s.Remote.Port()) || e.listening[s.Remote.Port()]
}

// nodePort reports whether the port is one of those that Kubernetes gives to services,
// on a host that tracks connections: their packets are sent on before a socket is
// looked for.
func (l *look) nodePort() bool {
	const first, last = 30000, 32767
	return first <= l.target.port && l.target.port <= last && proc.TracksConnections()
}
