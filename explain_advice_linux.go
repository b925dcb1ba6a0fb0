package reuse

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// advice returns what helps against the decisive holder.
func (l *look) advice(h Holder, passes Mode) string {
	switch h.Cause {
	case CauseSelf:
		return "close it first, or open both with " + l.how(Port)
	case CauseListener:
		s := fmt.Sprintf("stop %s, or open both with %s", h.pids(), l.how(Port))
		if h.UID != int(l.user) {
			s += " as the same user"
		}
		if l.refused == nil && passes&Addr != 0 {
			s += "; reuse.ListenPacket binds over it, and takes its datagrams"
		}
		return s
	case CauseSharing:
		return "open it with " + l.how(Port) + ", to share it"
	case CauseOtherUser:
		return fmt.Sprintf("stop %s, or run both as the same user: sharing is per user, that is %d and this %d", h.pids(), h.UID, l.user)
	case CauseInherited:
		return fmt.Sprintf("stop %s: the socket lives until all of them have closed it", h.pids())
	case CauseDualStack:
		if l.family == unix.AF_INET6 {
			return fmt.Sprintf("stop %s, or open this on network %s6, which leaves IPv4 to it", h.pids(), l.network[:3])
		}
		return fmt.Sprintf("stop %s, or have it open network %s6 (IPV6_V6ONLY), which leaves IPv4 to others", h.pids(), l.network[:3])
	case CauseHidden:
		s := "look again as root"
		switch {
		case h.Cgroup != "" && h.Cgroup != "/":
			s = "stop what runs in cgroup " + h.Cgroup
		case l.user == 0:
			s = "look again from the outermost pid namespace; if it is not there either, it is the kernel's own, such as a file server's"
		}
		if h.UID == int(l.user) {
			return s + ", or open both with " + l.how(Port)
		}
		return fmt.Sprintf("%s; sharing takes the same user: that is %d and this %d", s, h.UID, l.user)
	case CauseBound:
		return fmt.Sprintf("stop %s, or open both with %s", h.pids(), l.how(Addr))
	case CauseOutgoing:
		return fmt.Sprintf("%s; from then on keep clients off the port: sysctl net.ipv4.ip_local_reserved_ports=%s, or dial with net.Dialer{Control: reuse.Addr.Control}",
			l.orWait(h), reservedWith(l.port))
	case CauseStubborn:
		return l.orWait(h) + ": no option of this socket passes them; set SO_REUSEADDR where they are made"
	case CauseLeftover:
		if passes&Addr == 0 {
			return "open it with " + l.how(Port) + ", which they have"
		}
		s := "open it with " + l.how(Addr) + ", which passes them"
		if h.Expires > 0 {
			s += ", or wait " + seconds(h.Expires)
		}
		return s
	}
	return ""
}

// how names the option of m and the call that sets it.
func (l *look) how(m Mode) string {
	option, mode := "SO_REUSEADDR", "reuse.Addr"
	if m == Port {
		option, mode = "SO_REUSEPORT", "reuse.Port"
	}
	switch {
	case l.dial:
		return fmt.Sprintf("%s (net.Dialer{Control: %s.Control})", option, mode)
	case l.protocol == unix.IPPROTO_UDP:
		return fmt.Sprintf("%s (%s.ListenPacket)", option, mode)
	}
	return fmt.Sprintf("%s (%s.Listen)", option, mode)
}

// orWait says whom to stop or how long to wait.
func (l *look) orWait(h Holder) string {
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

// reservedWith returns net.ipv4.ip_local_reserved_ports with port added, since
// writing it replaces what was there.
func reservedWith(port uint16) string {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	if list := strings.TrimSpace(string(text)); list != "" {
		return fmt.Sprintf("%s,%d", list, port)
	}
	return fmt.Sprint(port)
}
