package inuse

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// noZone explains EINVAL: a link-local address is one of each interface, so it
// takes a zone that says of which. It returns nil if that is not the matter.
func (a attempt) noZone() *Error {
	addr := a.local.Addr()
	if !addr.Is6() || !addr.IsLinkLocalUnicast() && !addr.IsLinkLocalMulticast() || addr.Zone() != "" {
		return nil
	}
	zones := zonesOf(addr)
	if len(zones) == 0 {
		return a.because(CauseNoZone, fmt.Sprintf("write the interface after the address, as in %v%%eth0; no interface here has %v", addr, addr))
	}
	return a.because(CauseNoZone, fmt.Sprintf("write the interface after the address: %v%%%s", addr, strings.Join(zones, fmt.Sprintf(" or %v%%", addr))))
}

// zonesOf returns the names of the interfaces that have addr.
func zonesOf(addr netip.Addr) []string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var zones []string
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err == nil && slices.Contains(hosts(addrs), addr) {
			zones = append(zones, i.Name)
		}
	}
	return zones
}

// notLocal explains EADDRNOTAVAIL of bind: no interface has the address. It
// returns nil if one has.
func (a attempt) notLocal() *Error {
	addr := a.local.Addr()
	if !addr.IsValid() || addr.IsUnspecified() {
		return nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil || slices.Contains(hosts(addrs), addr.WithZone("")) {
		return nil
	}
	var here []string
	for _, host := range hosts(addrs) {
		if host.Is4() == addr.Is4() && !slices.Contains(here, host.String()) {
			here = append(here, host.String())
		}
	}
	const most = 8
	if len(here) > most {
		here = append(here[:most], "…")
	}
	wildcard := "0.0.0.0"
	if addr.Is6() {
		wildcard = "::"
	}
	advice := fmt.Sprintf("bind to %s, which is every address of this host, or to one that it has", wildcard)
	if len(here) > 0 {
		advice += ": " + strings.Join(here, ", ")
	}
	return a.because(CauseNotLocal, advice)
}

// hosts returns the addresses of interfaces, without prefix lengths and zones.
func hosts(addrs []net.Addr) []netip.Addr {
	var all []netip.Addr
	for _, addr := range addrs {
		if prefix, ok := addr.(*net.IPNet); ok {
			if host, ok := netip.AddrFromSlice(prefix.IP); ok {
				all = append(all, host.Unmap())
			}
		}
	}
	return all
}
