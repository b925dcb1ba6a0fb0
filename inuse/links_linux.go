package inuse

import (
	"context"

	"example.com/reuse/internal/rtnetlink"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// device returns the name of the interface that a socket is bound to, "" if it is bound
// to none, or to the one of its link-local address only.
func device(s sockdiag.Socket) string {
	if addr := s.Local.Addr(); s.Interface == 0 || addr.Is6() && addr.IsLinkLocalUnicast() {
		return ""
	}
	return interfaceName(s.Interface)
}

// interfaceName returns the name of an interface of this thread's network namespace, or "".
func interfaceName(index uint32) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	request.SetUint32(index)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFNAME, request); err != nil {
		return ""
	}
	return request.Name()
}

// findLinks finds the interfaces whose sockets those of the groups are. No process has
// them; they are root's, at all addresses.
func findLinks(ctx context.Context, groups []*group) {
	var tunnels []rtnetlink.Link
	asked := false
	for _, g := range groups {
		if g.Protocol != unix.IPPROTO_UDP || len(g.processes) > 0 || g.UID != 0 || !g.Local.Addr().IsUnspecified() {
			continue
		}
		if !asked {
			tunnels, _ = rtnetlink.Tunnels(ctx)
			asked = true
		}
		for _, link := range tunnels {
			six := g.Family == unix.AF_INET6
			if link.Up && link.Port == g.Local.Port() && (six && link.IPv6 || !six && link.IPv4) {
				g.link, g.kind = link.Name, link.Kind
				break
			}
		}
	}
}
