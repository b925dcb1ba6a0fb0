package reuse

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"example.com/reuse/internal/sockdiag"
)

// privileged explains EACCES: the port is below
// net.ipv4.ip_unprivileged_port_start (inet_bind). It returns nil if it is not.
func (a attempt) privileged() *InUseError {
	start := uint64(1024)
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 17); err == nil {
			start = n
		}
	}
	if port := uint64(a.local.Port()); port == 0 || port >= start {
		return nil
	}
	return a.because(CausePrivileged, fmt.Sprintf("ports below %d take CAP_NET_BIND_SERVICE: give it to the program "+
		"(setcap cap_net_bind_service=+ep FILE, or AmbientCapabilities=CAP_NET_BIND_SERVICE in a systemd unit), "+
		"or lower net.ipv4.ip_unprivileged_port_start to %d", start, a.local.Port()))
}

// notAvailable explains EADDRNOTAVAIL of bind.
func (a attempt) notAvailable() *InUseError {
	if e := a.tentative(); e != nil {
		return e
	}
	return a.notLocal()
}

// tentative explains EADDRNOTAVAIL of an IPv6 address that an interface has, but
// may not use until duplicate address detection has passed.
func (a attempt) tentative() *InUseError {
	text, err := os.ReadFile("/proc/thread-self/net/if_inet6")
	if err != nil {
		return nil
	}
	flags, ok := flagsIn(string(text), a.local.Addr())
	const tentative, failed = 0x40, 0x08 // IFA_F_TENTATIVE, IFA_F_DADFAILED
	switch {
	case !ok:
		return nil
	case flags&failed != 0:
		return a.because(CauseNotLocal, "another host on the link has the address: duplicate address detection failed")
	case flags&tentative != 0:
		return a.because(CauseNotLocal, "try again in some seconds: duplicate address detection is under way")
	}
	return nil
}

// flagsIn returns the flags of addr in the text of /proc/net/if_inet6: "address
// index prefix scope flags name".
func flagsIn(text string, addr netip.Addr) (flags uint64, ok bool) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		bytes, err := hex.DecodeString(fields[0])
		has, valid := netip.AddrFromSlice(bytes)
		if err == nil && valid && has == addr.WithZone("") {
			flags, err := strconv.ParseUint(fields[4], 16, 64)
			return flags, err == nil
		}
	}
	return 0, false
}

// exhausted explains that the kernel finds no ephemeral port: for port 0, or for
// a connection without a local one.
func (a attempt) exhausted(ctx context.Context) *InUseError {
	t := targetOf(a)
	kernel := openKernel()
	defer kernel.close()
	request := sockdiag.Request{Protocol: t.protocol, RemotePort: a.remote.Port()}
	sockets, err := kernel.sockets(ctx, request)
	if err != nil {
		kernel.unseen = append(kernel.unseen, err.Error())
	}
	low, high := ephemeralRange()
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
	if usable := total - reservedCount(low, high); len(taken) < usable/2 {
		e.Cause, e.Advice = CauseFree, "try again: "+numbers
	}
	e.Unseen = kernel.unseen
	return e
}

// reservedCount returns how many ports of the range are in
// net.ipv4.ip_local_reserved_ports.
func reservedCount(low, high uint16) int {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_reserved_ports")
	count := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		to := from
		if isRange {
			to, _ = strconv.Atoi(last)
		}
		count += max(0, min(to, int(high))-max(from, int(low))+1)
	}
	return count
}
