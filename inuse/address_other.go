//go:build !linux

package inuse

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// netifs returns the interfaces of this host. Package net does not tell whether their
// addresses can be used.
func netifs(context.Context) ([]netif, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []netif
	for _, i := range interfaces {
		up := i.Flags&net.FlagUp != 0
		n := netif{name: i.Name, index: i.Index, up: up, linked: up, loopback: i.Flags&net.FlagLoopback != 0}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, addr := range addrs {
			if prefix, ok := addr.(*net.IPNet); ok {
				if host, ok := netip.AddrFromSlice(prefix.IP); ok {
					n.addrs = append(n.addrs, netifAddr{Addr: host.Unmap()})
				}
			}
		}
		all = append(all, n)
	}
	return all, nil
}

func ipv6Off(netip.Addr) (string, bool) { return "", false }

func checkTime(string) time.Duration { return 0 }
