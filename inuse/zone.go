//go:build unix || windows

package inuse

import (
	"net"
	"net/netip"
)

// zoneID returns the index of an address's interface, 0 if it has none.
func zoneID(addr netip.Addr) uint32 {
	if i, err := net.InterfaceByName(addr.Zone()); err == nil {
		return uint32(i.Index)
	}
	return 0
}
