//go:build unix

package inuse

import (
	"net/netip"
	"strconv"
	"strings"
)

// networkOf returns the network of a protocol such as "tcp", "TCP" or "udp46", in a
// socket of IP version 4 or 6, or 0 if the protocol tells. It is not ok for other
// protocols.
func networkOf(protocol string, version int) (_ string, dual, ok bool) {
	protocol = strings.ToLower(protocol)
	name := strings.TrimRight(protocol, "46")
	if name != "tcp" && name != "udp" {
		return "", false, false
	}
	digits := protocol[len(name):]
	switch {
	case digits == "46" || digits == "64":
		return name + "6", true, true
	case digits == "4" || digits == "" && version == 4:
		return name + "4", false, true
	case digits == "6" || digits == "" && version == 6:
		return name + "6", false, true
	}
	return "", false, digits == ""
}

// parseAddrPort reads an address as tools print it: 127.0.0.1:80, 127.0.0.1.80,
// [::1]:80, ::1:80, ::1.80, *:80, *.80, *:*. The separator is what stands before the
// port. Version says what a star stands for.
func parseAddrPort(s, separator string, version int) (_ netip.AddrPort, ok bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return netip.AddrPort{}, false
	}
	host, digits := s[:i], s[i+len(separator):]
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil && digits != "*" {
		return netip.AddrPort{}, false
	}
	addr := netip.IPv4Unspecified()
	if version == 6 {
		addr = netip.IPv6Unspecified()
	}
	if host != "*" {
		if inner, found := strings.CutPrefix(host, "["); found {
			host, found = strings.CutSuffix(inner, "]")
			if !found {
				return netip.AddrPort{}, false
			}
		}
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, false
		}
		addr = withoutScope(addr.Unmap())
	}
	return netip.AddrPortFrom(addr, uint16(port)), true
}

// withoutScope returns a link-local address without the number of its interface, which
// BSD's kernels keep in it: fe80:4::1 is fe80::1 of interface 4.
func withoutScope(addr netip.Addr) netip.Addr {
	if !addr.Is6() || !addr.IsLinkLocalUnicast() {
		return addr
	}
	bytes := addr.As16()
	bytes[2], bytes[3] = 0, 0
	return netip.AddrFrom16(bytes).WithZone(addr.Zone())
}

// tcpState returns a state of TCP as Holder has it: tools have names of their own.
func tcpState(s string) string {
	switch s = strings.ToUpper(s); s {
	case "CLOSED", "CLOSE":
		return "BOUND" // it has a port, and neither listens nor is connected
	case "SYN_RECEIVED", "SYN_RCVD":
		return "SYN_RECV"
	case "FIN_WAIT_1":
		return "FIN_WAIT1"
	case "FIN_WAIT_2":
		return "FIN_WAIT2"
	}
	return s
}
