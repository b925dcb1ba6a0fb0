package inuse

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// netifs returns the interfaces of the calling thread's network namespace: through
// rtnetlink or, where that is missing, those that have IPv6 through procfs.
func netifs() ([]netif, error) {
	links, err := routes(unix.RTM_GETLINK, unix.RTM_NEWLINK)
	if err != nil {
		text, procErr := os.ReadFile(filepath.Join(string(proc), "thread-self/net/if_inet6"))
		if procErr != nil {
			return nil, err
		}
		return netifsIn(string(text)), nil
	}
	var all []netif
	byIndex := map[int]int{}
	for _, l := range links {
		if n, ok := parseLink(l); ok {
			byIndex[n.index] = len(all)
			all = append(all, n)
		}
	}
	addrs, err := routes(unix.RTM_GETADDR, unix.RTM_NEWADDR)
	if err != nil {
		return nil, err
	}
	for _, m := range addrs {
		index, addr, ok := parseAddress(m)
		if at, known := byIndex[index]; ok && known {
			all[at].addrs = append(all[at].addrs, addr)
		}
	}
	return all, nil
}

// routes returns what rtnetlink answers to a request for all of a kind.
func routes(request int, kind uint16) (found []syscall.NetlinkMessage, err error) {
	answer, err := syscall.NetlinkRIB(request, unix.AF_UNSPEC)
	if err != nil {
		return nil, os.NewSyscallError("netlinkrib", err)
	}
	messages, err := syscall.ParseNetlinkMessage(answer)
	if err != nil {
		return nil, os.NewSyscallError("parsenetlinkmessage", err)
	}
	for _, m := range messages {
		if m.Header.Type == kind {
			found = append(found, m)
		}
	}
	return found, nil
}

// parseLink reads a struct ifinfomsg with its attributes.
func parseLink(m syscall.NetlinkMessage) (n netif, ok bool) {
	if len(m.Data) < unix.SizeofIfInfomsg {
		return n, false
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return n, false
	}
	flags := binary.NativeEndian.Uint32(m.Data[8:])
	n.index = int(binary.NativeEndian.Uint32(m.Data[4:]))
	n.up, n.loopback = flags&unix.IFF_UP != 0, flags&unix.IFF_LOOPBACK != 0
	for _, a := range attributes {
		switch {
		case a.Attr.Type == unix.IFLA_IFNAME:
			n.name = strings.TrimRight(string(a.Value), "\x00")
		case a.Attr.Type == unix.IFLA_OPERSTATE && len(a.Value) == 1:
			const unknown, up = 0, 6 // RFC 2863, as in netif_oper_up
			n.linked = n.up && (a.Value[0] == unknown || a.Value[0] == up)
		}
	}
	return n, n.name != ""
}

// parseAddress reads a struct ifaddrmsg with its attributes.
func parseAddress(m syscall.NetlinkMessage) (index int, addr netifAddr, ok bool) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return 0, addr, false
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return 0, addr, false
	}
	flags := uint32(m.Data[2])
	index = int(binary.NativeEndian.Uint32(m.Data[4:]))
	local := false
	for _, a := range attributes {
		switch {
		case a.Attr.Type == unix.IFA_FLAGS && len(a.Value) == 4:
			flags = binary.NativeEndian.Uint32(a.Value)
		case a.Attr.Type == unix.IFA_LOCAL, a.Attr.Type == unix.IFA_ADDRESS && !local: // which may be the peer's
			local = a.Attr.Type == unix.IFA_LOCAL
			addr.Addr, ok = netip.AddrFromSlice(a.Value)
		}
	}
	addr.setFlags(flags)
	return index, addr, ok
}

// setFlags reads IFA_F_TENTATIVE and so on. One that is optimistic may be used at once
// (ipv6_chk_addr_and_flags).
func (a *netifAddr) setFlags(flags uint32) {
	a.tentative = flags&unix.IFA_F_TENTATIVE != 0 && flags&unix.IFA_F_OPTIMISTIC == 0
	a.duplicate = flags&unix.IFA_F_DADFAILED != 0
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
		addr := netifAddr{Addr: ip}
		addr.setFlags(uint32(flags))
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
func (a attempt) noSource() *finding {
	to := a.remote.Addr()
	if !a.dial || !to.Is6() || a.local.Addr().IsValid() && !a.local.Addr().IsUnspecified() {
		return nil
	}
	all, err := netifs()
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
				f = a.unusable(n, has)
				f.facts["S"] = "Address " + has.WithZone(n.name).String()
			}
		}
	}
	if key, off := ipv6Off(to); off && f == nil {
		f = a.because(CauseIPv6Off, facts{"if": key, "S": attempt{network: a.network, local: a.remote}.subject()})
	}
	return f
}
