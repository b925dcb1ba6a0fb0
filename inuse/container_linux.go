package inuse

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"example.com/reuse/internal/procfs"
	"golang.org/x/sys/unix"
)

// A dockerContainer is one that runs on this host, and has a network of its own or a
// part in another's.
type dockerContainer struct {
	id        string
	start     uint64
	addresses []netip.Addr
}

// containerOf returns the container that docker-proxy listens for, by its arguments:
// the one whose processes have the address that it sends to. It is "" if that is not
// seen.
func (o *owners) containerOf(ctx context.Context, proxy []string) string {
	addr, err := netip.ParseAddr(option(proxy, "container-ip"))
	if err != nil {
		return ""
	}
	if o.containers == nil {
		o.containers = dockerContainers(ctx)
	}
	for _, c := range o.containers {
		if slices.Contains(c.addresses, addr) {
			return c.id
		}
	}
	return ""
}

// dockerContainers returns the containers of Docker that have processes, the oldest
// first: it is the one whose network others join.
func dockerContainers(ctx context.Context) []dockerContainer {
	all := []dockerContainer{}
	pids, _ := proc.Processes()
	for _, pid := range pids {
		if ctx.Err() != nil {
			break
		}
		u := unitOf(proc.Cgroup(pid))
		if u.kind != "docker" || slices.ContainsFunc(all, func(c dockerContainer) bool { return c.id == u.container }) {
			continue
		}
		if p, ok := proc.Process(pid); ok {
			all = append(all, dockerContainer{id: u.container, start: p.Start, addresses: proc.Addresses(pid)})
		}
	}
	slices.SortStableFunc(all, func(a, b dockerContainer) int { return cmp.Compare(a.start, b.start) })
	return all
}

// conmonContainer returns the name of the container that conmon is for, or its id.
func conmonContainer(args []string) string {
	id := cmp.Or(option(args, "c"), option(args, "cid"))
	return cmp.Or(option(args, "n"), option(args, "name"), id[:min(len(id), 12)])
}

// option returns the value of an option of a program: "-name value", "--name value" or
// either with an equals sign.
func option(args []string, name string) string {
	for i, arg := range args {
		arg, value, hasValue := strings.Cut(arg, "=")
		if arg != "-"+name && arg != "--"+name {
			continue
		}
		if hasValue {
			return value
		}
		if i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

// findProxies finds the docker-proxy of groups whose processes may not be seen: its
// arguments, which all may read, say where it listens.
func (o *owners) findProxies(ctx context.Context, groups []*group) {
	const name = "docker-proxy"
	pids, _ := proc.Processes()
	for _, pid := range pids {
		if ctx.Err() != nil {
			return
		}
		if proc.Command(pid) != name {
			continue
		}
		d := o.look(ctx, pid, 0)
		if d.program != name {
			continue
		}
		for _, g := range groups {
			if listensAt(d.args, g) && int(g.UID) == d.UID {
				g.processes = o.processes(ctx, g, []procfs.Descriptor{{PID: pid, FD: -1}})
			}
		}
	}
}

// listensAt reports whether docker-proxy listens at g, by its arguments.
func listensAt(args []string, g *group) bool {
	protocol := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[g.Protocol]
	addr, err := netip.ParseAddr(option(args, "host-ip"))
	return err == nil && addr.Unmap() == g.Local.Addr().Unmap() && option(args, "proto") == protocol && protocol != "" &&
		option(args, "host-port") == strconv.Itoa(int(g.Local.Port()))
}
