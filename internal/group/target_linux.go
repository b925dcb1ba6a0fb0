package group

import (
	"net"
	"net/netip"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// targets returns the addresses at which a listener can be reached from here,
// the likeliest first. One may belong to a listener that is more specific.
func targets(self sockdiag.Member) []netip.AddrPort {
	port := self.Local.Port()
	if addr := self.Local.Addr(); !addr.IsUnspecified() {
		if addr.IsLinkLocalUnicast() && self.Interface != 0 {
			if i, err := net.InterfaceByIndex(int(self.Interface)); err == nil {
				addr = addr.WithZone(i.Name)
			}
		}
		return []netip.AddrPort{netip.AddrPortFrom(addr, port)}
	}
	v4 := self.Family == unix.AF_INET || self.V6OnlyKnown && !self.V6Only
	v6 := self.Family == unix.AF_INET6
	var all []netip.AddrPort
	add := func(addr netip.Addr) {
		if addr.Is4() && v4 || addr.Is6() && v6 {
			all = append(all, netip.AddrPortFrom(addr, port))
		}
	}
	if self.Interface == 0 {
		add(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		add(netip.IPv6Loopback())
	}
	const enough = 6
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if self.Interface != 0 && self.Interface != uint32(i.Index) {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && len(all) < enough {
				if addr, ok := netip.AddrFromSlice(ip.IP); ok {
					if addr = addr.Unmap(); addr.IsLinkLocalUnicast() && addr.Is6() {
						addr = addr.WithZone(i.Name)
					}
					add(addr)
				}
			}
		}
	}
	return all
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	sa := &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	if i, err := net.InterfaceByName(a.Addr().Zone()); err == nil {
		sa.ZoneId = uint32(i.Index)
	}
	return sa
}
