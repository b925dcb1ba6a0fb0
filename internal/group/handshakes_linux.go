package group

import (
	"context"
	"net/netip"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// Handshakes are some that were under way.
type Handshakes []sockdiag.Socket

// LookHandshakes returns the handshakes under way that members of the groups of
// socks may have: the kernel does not tell with which listener one began. It asks
// at their addresses, and where the kernel would find a member for another one like
// it: by a program of sk_lookup, at any port. A socket with IP_TRANSPARENT may have
// all there are.
func LookHandshakes(ctx context.Context, diag *sockdiag.Conn, socks []*Socket, members func(cookie uint64) bool) (Handshakes, error) {
	type place struct {
		family uint8
		local  netip.AddrPort
	}
	places, families, transparent := map[place]bool{}, map[uint8]bool{}, false
	for _, s := range socks {
		places[place{s.Key.family, s.Key.local}], families[s.Key.family] = true, true
		on, err := s.Transparent()
		if err != nil {
			return nil, err
		}
		transparent = transparent || on
	}
	any := map[uint8]netip.Addr{unix.AF_INET: netip.IPv4Unspecified(), unix.AF_INET6: netip.IPv6Unspecified()}
	var found Handshakes
	for family := range families {
		all, err := dumpHandshakes(ctx, diag, family)
		if err != nil {
			return nil, err
		}
		for _, h := range all {
			mine := transparent || places[place{family, h.Local}] || places[place{family, netip.AddrPortFrom(any[family], h.Local.Port())}]
			if !mine {
				another := h
				another.Remote = netip.AddrPortFrom(h.Remote.Addr(), 0) // no connection has
				another.Cookie = anyCookie
				listener, err := diag.Lookup(ctx, another)
				if err != nil && !sockdiag.Gone(err) {
					return nil, Missing(err)
				}
				mine = err == nil && members(listener.Cookie)
			}
			if mine {
				found = append(found, h)
			}
		}
	}
	return found, nil
}

func dumpHandshakes(ctx context.Context, diag *sockdiag.Conn, family uint8) (Handshakes, error) {
	all, err := diag.Sockets(ctx, sockdiag.Request{Protocol: unix.IPPROTO_TCP, Family: family, States: sockdiag.Set(sockdiag.SynRecv)})
	return all, Missing(err)
}

// Pending returns those that are still under way. A handshake that a dump does not
// show is looked up besides: a dump of several messages may pass over one.
func (all Handshakes) Pending(ctx context.Context, diag *sockdiag.Conn) (Handshakes, error) {
	if len(all) == 0 {
		return nil, nil
	}
	type pair struct{ local, remote netip.AddrPort }
	there := map[pair]sockdiag.Socket{}
	var families []uint8
	for _, h := range all {
		if slices.Contains(families, h.Family) {
			continue
		}
		families = append(families, h.Family)
		dump, err := dumpHandshakes(ctx, diag, h.Family)
		if err != nil {
			return nil, err
		}
		for _, now := range dump {
			there[pair{now.Local, now.Remote}] = now
		}
	}
	var pending Handshakes
	for _, h := range all {
		now, ok := there[pair{h.Local, h.Remote}]
		if !ok {
			now = h
			var err error
			if ok, err = diag.Pending(ctx, h); err != nil {
				return nil, Missing(err)
			}
		}
		if ok {
			pending = append(pending, now)
		}
	}
	return pending, nil
}
