package inuse

import (
	"context"
	"fmt"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// privileged explains EACCES: the port is below
// net.ipv4.ip_unprivileged_port_start (inet_bind). It returns nil if it is not.
func (a attempt) privileged() *Error {
	start := proc.UnprivilegedPortStart()
	if port := a.local.Port(); port == 0 || int(port) >= start {
		return nil
	}
	return a.because(CausePrivileged, fmt.Sprintf("ports below %d take CAP_NET_BIND_SERVICE: give it to the program "+
		"(setcap cap_net_bind_service=+ep FILE, or AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit), "+
		"or lower net.ipv4.ip_unprivileged_port_start to %d", start, a.local.Port()))
}

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
		if err != nil {
			l.unseen = append(l.unseen, err.Error())
		}
		for _, s := range listeners {
			e.listening[s.Local.Port()] = true
		}
	}
	return e
}

func (e ephemeral) has(port uint16) bool { return e.low <= port && port <= e.high }

// client reports whether s is a connection that was probably dialled from here,
// with a port that the kernel chose. Nothing tells for sure. Its port is one of
// those that the kernel chooses from; and the other's is not, or is one where
// somebody on this host listens.
func (e ephemeral) client(s sockdiag.Socket) bool {
	if s.Remote.Port() == 0 || !e.has(s.Local.Port()) {
		return false
	}
	return s.Protocol == unix.IPPROTO_UDP || !e.has(s.Remote.Port()) || e.listening[s.Remote.Port()]
}

// exhausted explains that the kernel finds no ephemeral port: for port 0, or for
// a connection without a local one.
func (a attempt) exhausted(ctx context.Context) *Error {
	t := targetOf(a)
	kernel := openKernel()
	defer kernel.close()
	request := sockdiag.Request{Protocol: t.protocol, RemotePort: a.remote.Port()}
	sockets, err := kernel.sockets(ctx, request)
	if err != nil {
		kernel.unseen = append(kernel.unseen, err.Error())
	}
	low, high := proc.PortRange()
	taken, waiting := map[uint16]bool{}, 0
	for _, s := range sockets {
		port := s.Local.Port()
		if port < low || port > high || taken[port] || a.remote.IsValid() && s.Remote != a.remote {
			continue
		}
		taken[port] = true
		if s.State == sockdiag.TimeWait {
			waiting++
		}
	}
	total := int(high) - int(low) + 1
	to := ""
	if a.remote.IsValid() {
		to = " to " + a.remote.String()
	}
	numbers := fmt.Sprintf("%d of the %d ports of net.ipv4.ip_local_port_range (%d to %d) are taken%s, %d of them in TIME_WAIT",
		len(taken), total, low, high, to, waiting)
	e := a.because(CauseExhausted, numbers+": widen the range, keep connections open and use them again, or use several addresses")
	// The kernel leaves out reserved ones, and may give up before the last.
	if usable := total - proc.ReservedPorts().Within(low, high); len(taken) < usable/2 {
		e.Cause, e.Advice = CauseFree, "try again: "+numbers
	}
	e.Unseen = kernel.unseen
	return e
}
