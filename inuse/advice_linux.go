package inuse

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// advice returns what helps against the decisive holder.
func (l *look) advice(h Holder, passes passes) string {
	switch h.Cause {
	case CauseSelf:
		return "close it first, or open both with " + l.reusePort()
	case CauseListener:
		return l.adviseListener(h, passes)
	case CauseSharing:
		return "open it with " + l.reusePort() + ", to share it"
	case CauseOtherUser:
		return fmt.Sprintf("stop %s, or run both as the same user: sharing is per user, that is %d and this %d", h.pids(), h.UID, l.user)
	case CauseInherited:
		return fmt.Sprintf("stop %s: the socket lives until all of them have closed it", h.pids())
	case CauseDualStack:
		return l.adviseDualStack(h)
	case CauseHidden:
		return l.adviseHidden(h)
	case CauseBound:
		return fmt.Sprintf("stop %s, or open both with %s", h.pids(), l.reuseAddr())
	case CauseOutgoing:
		return fmt.Sprintf("%s; from then on keep clients off the port: sysctl net.ipv4.ip_local_reserved_ports=%s, or dial with net.Dialer{Control: reuse.Addr.Control}",
			h.end(), proc.ReservedPorts().With(l.target.port))
	case CauseStubborn:
		return h.end() + ": no option of this socket passes them; set SO_REUSEADDR where they are made"
	case CauseLeftover:
		return l.adviseLeftover(h, passes)
	}
	return ""
}

func (l *look) adviseListener(h Holder, passes passes) string {
	s := fmt.Sprintf("stop %s, or open both with %s", h.pids(), l.reusePort())
	if h.UID != int(l.user) {
		s += " as the same user"
	}
	if l.trial == nil && passes.addr {
		s += "; reuse.ListenPacket binds over it, and takes its datagrams"
	}
	return s
}

func (l *look) adviseDualStack(h Holder) string {
	network := l.attempt.network[:3]
	if l.target.family == unix.AF_INET6 {
		return fmt.Sprintf("stop %s, or open this on network %s6, which leaves IPv4 to it", h.pids(), network)
	}
	return fmt.Sprintf("stop %s, or have it open network %s6 (IPV6_V6ONLY), which leaves IPv4 to others", h.pids(), network)
}

func (l *look) adviseHidden(h Holder) string {
	s := "look again as root"
	switch {
	case h.Cgroup != "" && h.Cgroup != "/":
		s = "stop what runs in cgroup " + h.Cgroup
	case l.user == 0:
		s = "look again from the outermost pid namespace; if it is not there either, it is the kernel's own, such as a file server's"
	}
	if h.UID == int(l.user) {
		return s + ", or open both with " + l.reusePort()
	}
	return fmt.Sprintf("%s; sharing takes the same user: that is %d and this %d", s, h.UID, l.user)
}

func (l *look) adviseLeftover(h Holder, passes passes) string {
	if !passes.addr {
		return "open it with " + l.reusePort() + ", which they have"
	}
	s := "open it with " + l.reuseAddr() + ", which passes them"
	if h.Expires > 0 {
		s += ", or wait " + seconds(h.Expires)
	}
	return s
}

// reuseAddr names SO_REUSEADDR and the call that sets it.
func (l *look) reuseAddr() string { return l.option("SO_REUSEADDR", "reuse.Addr") }

// reusePort names SO_REUSEPORT and the call that sets it.
func (l *look) reusePort() string { return l.option("SO_REUSEPORT", "reuse.Port") }

func (l *look) option(name, mode string) string {
	switch {
	case l.attempt.dial:
		return fmt.Sprintf("%s (net.Dialer{Control: %s.Control})", name, mode)
	case l.target.protocol == unix.IPPROTO_UDP:
		return fmt.Sprintf("%s (%s.ListenPacket)", name, mode)
	}
	return fmt.Sprintf("%s (%s.Listen)", name, mode)
}

// end says whom to stop so that connections end, or how long to wait.
func (h Holder) end() string {
	switch {
	case ownedBySelf(h.Processes):
		return "close that connection, which may stay for a minute more"
	case len(h.Processes) > 0:
		return fmt.Sprintf("stop %s, whose connection may stay for a minute more", h.pids())
	case h.UID >= 0:
		return fmt.Sprintf("stop the process of user %d, whose connection may stay for a minute more", h.UID)
	case h.Expires > 0:
		return "wait " + seconds(h.Expires)
	}
	return "wait until the peer answers, or the kernel gives it up"
}
