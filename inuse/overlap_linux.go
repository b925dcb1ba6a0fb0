package inuse

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A target is what a socket of the attempt is bound to: what package net makes
// of network and address.
type target struct {
	protocol uint8 // unix.IPPROTO_TCP or unix.IPPROTO_UDP
	family   uint8 // unix.AF_INET or unix.AF_INET6
	v6only   bool
	addr     netip.Addr // of that family, without zone
	port     uint16
	zone     uint32 // index of an interface, or 0
}

// targetOf returns the target of a, as package net chooses it
// (favoriteAddrFamily). But who asks whyinuse for 0.0.0.0 means IPv4.
func targetOf(a attempt) target {
	t := target{protocol: unix.IPPROTO_TCP, port: a.local.Port(), addr: a.local.Addr(), zone: zoneIndex(a.local.Addr().Zone())}
	if strings.HasPrefix(a.network, "udp") {
		t.protocol = unix.IPPROTO_UDP
	}
	t.addr = t.addr.WithZone("")
	wildcard := !t.addr.IsValid() || t.addr.IsUnspecified()
	switch {
	case strings.HasSuffix(a.network, "4"), a.check && t.addr.Is4():
		t.family = unix.AF_INET
	case strings.HasSuffix(a.network, "6"):
		t.family, t.v6only = unix.AF_INET6, true
	case wildcard && !a.dial && hasIPv6():
		t.family = unix.AF_INET6
	case (wildcard || t.addr.Is4()) && (!a.dial || a.remote.Addr().Is4()):
		t.family = unix.AF_INET
	default:
		t.family = unix.AF_INET6
	}
	if wildcard {
		t.addr = netip.IPv6Unspecified()
		if t.family == unix.AF_INET {
			t.addr = netip.IPv4Unspecified()
		}
	}
	return t
}

func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func zoneIndex(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

// bind binds a TCP socket to the target with SO_REUSEADDR and, if it is to be
// shared, SO_REUSEPORT, and closes it. It does not listen, so no client notices;
// and the socket has SO_REUSEADDR, so a server that is started at the same moment
// is not refused by it.
func (t target) bind(shared bool) error {
	fd, err := unix.Socket(int(t.family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var addr unix.Sockaddr
	if t.family == unix.AF_INET {
		addr = &unix.SockaddrInet4{Port: int(t.port), Addr: t.addr.As4()}
	} else {
		addr = &unix.SockaddrInet6{Port: int(t.port), Addr: t.addr.As16(), ZoneId: t.zone}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, toInt(t.v6only)); err != nil {
			return err
		}
	}
	for _, option := range []struct{ name, value int }{{unix.SO_REUSEADDR, 1}, {unix.SO_REUSEPORT, toInt(shared)}} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option.name, option.value); err != nil {
			return err
		}
	}
	return unix.Bind(fd, addr)
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A reach is the addresses whose packets a socket takes: of each IP version
// one, all if it is unspecified, none if it is not valid.
type reach struct {
	v4, v6 netip.Addr
}

func reachOf(family uint8, addr netip.Addr, v6only bool) reach {
	switch {
	case addr.Is4():
		return reach{v4: addr}
	case addr.IsUnspecified() && !v6only && family == unix.AF_INET6:
		return reach{netip.IPv4Unspecified(), addr}
	}
	return reach{v6: addr}
}

// meets reports whether one packet could be for both.
func (r reach) meets(s reach) bool {
	return meets(r.v4, s.v4) || meets(r.v6, s.v6)
}

func meets(a, b netip.Addr) bool {
	return a.IsValid() && b.IsValid() && (a == b || a.IsUnspecified() || b.IsUnspecified())
}

// overlap reports whether the kernel compares s with the target when that is
// bound (ipv6_rcv_saddr_equal).
func (t target) overlap(s sockdiag.Socket) bool {
	own, other := reachOf(t.family, t.addr, t.v6only), reachOf(s.Family, s.Local.Addr(), s.V6Only)
	if t.zone != 0 && s.Interface != 0 && t.zone != s.Interface {
		return false
	}
	if own.meets(other) {
		return true
	}
	// An IPv6 connection that was never bound to one address, such as one
	// that a listener on [::] accepted, counts as IPv4's wildcard too.
	return connection(s) && s.Family == unix.AF_INET6 && own.v4.IsValid() && own.v4.IsUnspecified()
}

// connection reports whether s is a TCP connection, however far.
func connection(s sockdiag.Socket) bool {
	return s.Protocol == unix.IPPROTO_TCP && s.State != sockdiag.Listen && s.State != sockdiag.Bound && s.State != sockdiag.Close
}
