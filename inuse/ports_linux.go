package inuse

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// exhausted explains that the kernel found no port to choose: for a listener at port 0, or
// for a connection without a local one. The function most says of whom most sockets are, or
// "".
func (a attempt) exhausted(ctx context.Context, most func(context.Context, []sockdiag.Socket) string) *finding {
	if f := a.noSource(ctx); f != nil { // address_linux.go
		return f
	}
	to := ""
	if a.dial {
		to = " to " + a.remote.String()
	}
	tried := a.tryAnyPort()
	if tried == nil {
		return a.because(CauseFree, facts{"S": "A port" + to, "s": "a port" + to})
	}
	protocol := uint8(unix.IPPROTO_TCP)
	if strings.HasPrefix(a.network, "udp") {
		protocol = unix.IPPROTO_UDP
	}
	kernel := openKernel()
	defer kernel.close()
	sockets, err := kernel.sockets(ctx, sockdiag.Request{Protocol: protocol})
	r := newPortRange()
	used := map[uint16]bool{}
	var holders []sockdiag.Socket
	for _, s := range sockets {
		if !r.has(s.Local.Port()) {
			continue
		}
		used[s.Local.Port()] = true
		if a.blocks(s) {
			holders = append(holders, s)
		}
	}
	if tried != unix.EADDRINUSE && len(used) < r.usable() {
		what := fmt.Sprintf("%d of the %d ports of %v were seen to be taken", len(used), r.usable(), r)
		if err != nil {
			what = fmt.Sprintf("not all sockets could be read (%v)", err)
		}
		return a.because(CauseUnknown, facts{"what": what, "S": "A port" + to, "s": "a port" + to})
	}
	f := a.because(CauseExhausted, facts{"to": to, "n": fmt.Sprint(r.usable()), "range": r.String()})
	if hint := most(ctx, holders); hint != "" {
		f.hints = append(f.hints, hint)
	}
	return f
}

// tryAnyPort binds a port of the kernel's choice, and returns why that fails: EADDRINUSE if
// no port is left. To dial, a port has to be free of others altogether, which is more than a
// dial takes, but what it gets from the kernel if there is one.
func (a attempt) tryAnyPort() error {
	kind := unix.SOCK_STREAM
	if strings.HasPrefix(a.network, "udp") {
		kind = unix.SOCK_DGRAM
	}
	addr := a.local.Addr()
	if !addr.IsValid() {
		addr = netip.IPv6Unspecified()
		if strings.HasSuffix(a.network, "4") || a.remote.Addr().Is4() {
			addr = netip.IPv4Unspecified()
		}
	}
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err == unix.EAFNOSUPPORT && addr.IsUnspecified() {
		addr = netip.IPv4Unspecified()
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM && !a.dial { // as package net does
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if addr.Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.As4()})
	}
	sa := &unix.SockaddrInet6{Addr: addr.As16()}
	if n, err := net.InterfaceByName(addr.Zone()); err == nil {
		sa.ZoneId = uint32(n.Index)
	}
	return unix.Bind(fd, sa)
}

// blocks reports whether s keeps a from its port. One on which there are only connections
// that were dialled serves for a connection to another address, too
// (__inet_check_established).
func (a attempt) blocks(s sockdiag.Socket) bool {
	if !a.dial || s.Remote.Port() == 0 {
		return true
	}
	// sock_diag has an index in place of a zone.
	return s.Remote.Port() == a.remote.Port() && s.Remote.Addr() == a.remote.Addr().WithZone("")
}

// A portRange is what the kernel chooses ports from.
type portRange struct {
	low, high uint16
	reserved  int // how many of them it leaves out
}

func newPortRange() portRange {
	low, high := proc.PortRange()
	return portRange{low, high, proc.ReservedPorts().Within(low, high)}
}

func (r portRange) has(port uint16) bool { return r.low <= port && port <= r.high }

func (r portRange) usable() int { return int(r.high) - int(r.low) + 1 - r.reserved }

func (r portRange) String() string { return fmt.Sprintf("%d-%d", r.low, r.high) }
