//go:build !windows

package inuse

import "net/netip"

// taken says of a TCP address which bind refuses that somebody has it, where the system
// does not show who; unseen says why.
func (a attempt) taken(unseen string) *finding {
	network, addr := "tcp6", netip.IPv6Unspecified()
	if local := a.local.Addr().Unmap(); local.IsValid() {
		addr = local
	}
	if addr.Is4() || a.network == "tcp4" {
		network = "tcp4"
		if !addr.Is4() {
			addr = netip.IPv4Unspecified()
		}
	}
	f := a.because(CauseNoProcess, nil)
	f.holders = []Holder{{
		Network: network, Local: netip.AddrPortFrom(addr, a.local.Port()), State: "BOUND", Count: 1, UID: -1, unit: unit{user: -1},
	}}
	f.instead, f.unseen = []string{}, []string{"which process it is: " + unseen}
	return f
}
