package inuse

import (
	"context"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"example.com/reuse/internal/rtnetlink"
	"golang.org/x/sys/unix"
)

// netifs returns the interfaces of the calling thread's network namespace: through
// rtnetlink or, where that is missing, those that have IPv6 through procfs.
func netifs(ctx context.Context) (all []netif, err error) {
	interfaces, err := rtnetlink.Interfaces(ctx)
	if err != nil {
		text, procErr := os.ReadFile(filepath.Join(string(proc), "thread-self/net/if_inet6"))
		if procErr != nil {
			return nil, err
		}
		return netifsIn(string(text)), nil
	}
	for _, i := range interfaces {
		n := netif{name: i.Name, index: i.Index, up: i.Up, linked: i.Linked, loopback: i.Loopback}
		for _, a := range i.Addresses {
			n.addrs = append(n.addrs, netifAddr{a.Addr, a.Tentative, a.Duplicate})
		}
		all = append(all, n)
	}
	return all, nil
}

// netifsIn reads /proc/net/if_inet6: "address index prefix scope flags name", with all
// numbers in hexadecimal.
func netifsIn(text string) (all []netif) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 6 {
			continue
		}
		bytes, err := hex.DecodeString(fields[0])
		ip, valid := netip.AddrFromSlice(bytes)
		index, err1 := strconv.ParseUint(fields[1], 16, 31)
		flags, err2 := strconv.ParseUint(fields[4], 16, 32)
		if err != nil || !valid || err1 != nil || err2 != nil {
			continue
		}
		addr := netifAddr{ip, flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0, flags&unix.IFA_F_DADFAILED != 0}
		// Those that have addresses are up, as a rule.
		n := netif{name: fields[5], index: int(index), up: true, linked: true, loopback: ip.IsLoopback(), addrs: []netifAddr{addr}}
		if last := len(all) - 1; last >= 0 && all[last].index == n.index {
			all[last].addrs = append(all[last].addrs, addr)
			continue
		}
		all = append(all, n)
	}
	return all
}

// sysctl returns net.NAME of the calling thread's network namespace.
func sysctl(name string) (int, bool) {
	text, err := os.ReadFile(filepath.Join(string(proc), "sys/net", name))
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// ipv6Off reports whether IPv6 is switched off for the interface that would have addr, or
// for all, and what has to be switched on.
func ipv6Off(addr netip.Addr) (name string, off bool) {
	name = "all"
	switch {
	case addr.IsLoopback():
		name = "lo"
	case addr.Zone() != "":
		name = addr.Zone()
	}
	value, ok := sysctl("ipv6/conf/" + name + "/disable_ipv6")
	return name, addr.Is6() && ok && value != 0
}

// checkTime returns how long the check for duplicates takes at most: it begins within the
// first period (addrconf_dad_kick), and waits for answers in each of the others.
func checkTime(name string) time.Duration {
	value := func(key string, otherwise int) time.Duration {
		if n, ok := sysctl("ipv6/" + key); ok && n >= 0 {
			return time.Duration(n)
		}
		return time.Duration(otherwise)
	}
	return value("conf/"+name+"/router_solicitation_delay", 1)*time.Second +
		value("conf/"+name+"/dad_transmits", 1)*value("neigh/"+name+"/retrans_time_ms", 1000)*time.Millisecond
}

// noSource explains EADDRNOTAVAIL of connect by IPv6: there is no address to dial from. It
// returns nil if there is one.
func (a attempt) noSource(ctx context.Context) *finding {
	to := a.remote.Addr()
	if !a.dial || !to.Is6() || a.local.Addr().IsValid() && !a.local.Addr().IsUnspecified() {
		return nil
	}
	all, err := netifs(ctx)
	if err != nil {
		return nil
	}
	var f *finding
	for _, n := range all {
		if needsZone(to) && !n.is(to.Zone()) || to.IsLoopback() != n.loopback {
			continue
		}
		for _, has := range n.addrs {
			switch {
			case !has.Is6():
			case has.usable():
				return nil
			case f == nil:
				f = a.unusable(all, n, has)
				delete(f.facts, "address") // which is one to listen on
				f.facts["S"] = "Address " + has.WithZone(n.name).String()
			}
		}
	}
	if key, off := ipv6Off(to); off && f == nil {
		f = a.because(CauseIPv6Off, facts{"if": key, "S": attempt{network: a.network, local: a.remote}.subject()})
	}
	return f
}

// otherAddress returns an address of this host of the IP version of the first of not that
// is none of them: if there is one that others can reach, that one.
func otherAddress(not ...netip.Addr) (netip.Addr, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), explainTime)
	defer cancel()
	all, err := netifs(ctx)
	if err != nil || len(not) == 0 {
		return netip.Addr{}, false
	}
	return instead(all, not[0], false, not...)
}
