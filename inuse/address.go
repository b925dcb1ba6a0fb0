package inuse

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A netif is a network interface with its addresses.
type netif struct {
	name     string
	index    int
	up       bool // it is switched on
	linked   bool // and can carry packets
	loopback bool
	addrs    []netifAddr
}

// A netifAddr is an address of an interface.
type netifAddr struct {
	netip.Addr      // without a zone
	tentative  bool // it may not be used before the check for duplicates has ended
	duplicate  bool // and that has failed
}

func (a netifAddr) usable() bool { return !a.tentative && !a.duplicate }

// is reports whether zone names n, by its name or its index.
func (n netif) is(zone string) bool { return zone == n.name || zone == strconv.Itoa(n.index) }

// find returns what n knows of addr.
func (n netif) find(addr netip.Addr) (netifAddr, bool) {
	i := slices.IndexFunc(n.addrs, func(a netifAddr) bool { return a.Addr == addr.WithZone("") })
	if i < 0 {
		return netifAddr{}, false
	}
	return n.addrs[i], true
}

// linkLocal reports whether n has a link-local address, from which it can reach others.
func (n netif) linkLocal() bool {
	return n.up && !n.loopback && slices.ContainsFunc(n.addrs, func(a netifAddr) bool { return a.Is6() && a.IsLinkLocalUnicast() })
}

// needsZone reports whether each interface has an address like addr of its own. The zones of
// other addresses have no meaning.
func needsZone(addr netip.Addr) bool {
	return addr.Is6() && (addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast() || addr.IsInterfaceLocalMulticast())
}

// notAvailable explains EADDRNOTAVAIL of bind. It returns nil if the address can be used
// by now.
func (a attempt) notAvailable(ctx context.Context) *finding {
	addr := a.local.Addr()
	if a.call == "connect" || !addr.IsValid() || addr.IsUnspecified() {
		return nil
	}
	all, err := netifs(ctx) // address_linux.go, address_other.go
	if err != nil && addr.Is6() {
		return a.because(CauseUnknown, facts{"what": fmt.Sprintf("the addresses of this host cannot be read (%v)", err)})
	}
	if needsZone(addr) {
		if f := a.wrongZone(all, a.local); f != nil {
			return f
		}
	}
	for _, n := range all {
		if has, ok := n.find(addr); ok && has.usable() && (!needsZone(addr) || n.is(addr.Zone())) {
			return nil
		}
	}
	for _, n := range all {
		if has, ok := n.find(addr); ok && (!needsZone(addr) || n.is(addr.Zone())) {
			return a.unusable(all, n, has)
		}
	}
	if key, off := ipv6Off(addr); off { // address_linux.go, address_other.go
		f := a.because(CauseIPv6Off, facts{"if": key, "use": a.use()})
		if other, ok := instead(all, netip.IPv4Unspecified(), addr.IsLoopback()); ok {
			f.facts["address"] = other.String()
		}
		return f
	}
	return a.notLocal(all)
}

// unusable explains that n may not use its address yet, or never.
func (a attempt) unusable(all []netif, n netif, addr netifAddr) *finding {
	f := a.because(CauseTentative, facts{"if": n.name, "use": a.use()})
	f.facts.listenOnAny(addr.Addr)
	switch {
	case addr.duplicate:
		f.cause = CauseDuplicate
		if other, ok := instead(all, addr.Addr, false, addr.Addr); ok {
			f.facts["address"] = other.String()
		}
	case !n.linked:
		f.cause = CauseNoLink
		f.why = fmt.Sprintf("the check for duplicate addresses does not end before %s has a link.", n.name)
		if !n.up {
			f.facts["down"] = n.name
		}
	default:
		f.facts["seconds"] = seconds(checkTime(n.name)) // address_linux.go, address_other.go
	}
	return f
}

// notLocal explains that no interface has the address.
func (a attempt) notLocal(all []netif) *finding {
	addr := a.local.Addr()
	f := a.because(CauseNotLocal, facts{})
	f.facts.listenOnAny(addr)
	for _, n := range all {
		if n.loopback && !n.up && addr.IsLoopback() {
			f.facts["down"], f.facts["if"] = n.name, n.name
			f.facts["missing"] = n.name + ", which has that address, is down"
			return f
		}
	}
	var here []string
	for _, n := range all {
		for _, has := range n.addrs {
			if has.Is4() == addr.Is4() && !needsZone(has.Addr) && !slices.Contains(here, has.String()) {
				here = append(here, has.String())
			}
		}
	}
	if len(here) > 0 {
		f.hints = append(f.hints, "this host has "+list(here))
	}
	return f
}

// listenOnAny adds what stands for every address of this host, of the IP version of addr.
func (f facts) listenOnAny(addr netip.Addr) {
	f["any"], f["key"] = "0.0.0.0", "net.ipv4.ip_nonlocal_bind"
	if addr.Is6() {
		f["any"], f["key"] = "[::]", "net.ipv6.ip_nonlocal_bind"
	}
}

// invalid explains EINVAL and ENODEV of bind, and of connect: a link-local address is one
// of each interface, so its zone has to say of which. (A name that no interface has is
// none for package net.)
func (a attempt) invalid(ctx context.Context) *finding {
	to := a.local
	if a.call == "connect" {
		to = a.remote
	}
	addr := to.Addr()
	if addr.Is6() && addr.IsMulticast() && strings.HasPrefix(a.network, "tcp") {
		f := a.because(CauseNotLocal, facts{"missing": "it is a multicast address, which only UDP can have"})
		f.facts.listenOnAny(addr)
		return f
	}
	if !needsZone(addr) {
		return nil
	}
	all, err := netifs(ctx)
	if err != nil {
		return nil
	}
	return a.wrongZone(all, to)
}

// wrongZone explains that a link-local address lacks its zone, or has another interface's.
// It returns nil if the zone is right, or if nothing has the address.
func (a attempt) wrongZone(all []netif, to netip.AddrPort) *finding {
	addr := to.Addr()
	zone := addr.Zone()
	remote := a.call == "connect"
	var named bool
	var names []string // of those that can be meant
	for _, n := range all {
		_, has := n.find(addr)
		if remote || addr.IsMulticast() {
			has = n.linkLocal()
		}
		switch {
		case zone != "" && n.is(zone):
			if has {
				return nil
			}
			named = true
		case has:
			names = append(names, n.name)
		}
	}
	f := a.because(CauseWrongZone, facts{"use": a.use()})
	f.facts.listenOnAny(addr)
	if remote {
		f.facts["S"] = attempt{network: a.network, local: to}.subject()
	}
	if len(names) > 0 {
		f.facts["if"] = names[0]
		f.facts["address"] = netip.AddrPortFrom(addr.WithZone(names[0]), to.Port()).String()
		if len(names) > 1 {
			f.hints = append(f.hints, list(names)+" can be meant")
		}
	}
	switch {
	case zone == "" && len(names) > 0:
		f.cause = CauseNoZone
	case zone != "" && !named:
		f.facts["zone"] = "there is no interface " + zone
	case zone != "" && len(names) > 0 && !remote:
		f.facts["zone"] = fmt.Sprintf("%s has that address, and %s has not", names[0], zone)
	case zone == "" && !remote:
		return a.notLocal(all)
	default:
		return nil
	}
	return f
}

// use says what is done with an address.
func (a attempt) use() string {
	switch {
	case a.call == "connect":
		return "dial"
	case a.dial:
		return "dial from"
	}
	return "listen on"
}

// instead returns an address of the IP version of like that is none of not.
func instead(all []netif, like netip.Addr, loopback bool, not ...netip.Addr) (best netip.Addr, ok bool) {
	for _, n := range all {
		for _, has := range n.addrs {
			if has.Is4() != like.Is4() || !n.up || !has.usable() || needsZone(has.Addr) || slices.Contains(not, has.Addr) {
				continue
			}
			if !ok || best.IsLoopback() != loopback && has.IsLoopback() == loopback {
				best, ok = has.Addr, true
			}
		}
	}
	return best, ok
}

// list returns the first of names as people say them.
func list(names []string) string {
	const most = 3
	last := len(names) - 1
	switch {
	case last == 0:
		return names[0]
	case last > most: // "and 1 other" would be no shorter
		return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
