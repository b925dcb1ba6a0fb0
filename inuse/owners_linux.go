package inuse

// A stand-in until the owners' branch is merged.

import (
	"cmp"
	"context"
	"os"
	"slices"

	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

type group struct {
	sockdiag.Socket
	count  int
	client bool
	inodes []uint32

	processes  []Process
	unit       unit
	device     string
	link, kind string
	pgid       int
	options    Options
	blocksAddr answer
	blocksPort answer
}

func findOwners(ctx context.Context, groups []*group, worth func(*group) bool) (s sight) {
	wanted := map[uint32]bool{}
	for _, g := range groups {
		g.unit = unit{user: -1}
		for _, inode := range g.inodes {
			wanted[inode] = worth(g)
		}
	}
	owners := proc.FindOwners(ctx, wanted, nil)
	s = sight{others: owners.Forbidden > 0, hidden: owners.Hidden, late: owners.Skipped > 0, err: owners.Err}
	for _, g := range groups {
		for _, inode := range g.inodes {
			for _, d := range owners.Found[inode] {
				if !slices.ContainsFunc(g.processes, func(p Process) bool { return p.PID == d.PID }) {
					g.processes = append(g.processes, Process{PID: d.PID, Name: proc.Command(d.PID), Command: proc.Command(d.PID), State: "running", unit: unit{user: -1}})
				}
				if addr, port, err := procfs.Options(d, inode); err == nil {
					known := g.options.Known
					g.options = Options{Known: true, ReuseAddr: addr && (!known || g.options.ReuseAddr), ReusePort: port && (!known || g.options.ReusePort)}
				}
			}
		}
		slices.SortFunc(g.processes, func(a, b Process) int { return cmp.Compare(proc.Started(a.PID), proc.Started(b.PID)) })
	}
	return s
}

func (g *group) holder() Holder {
	h := Holder{Network: "tcp4", Local: g.Local, V6Only: g.V6Only, State: g.State.String(), Count: g.count, UID: -1, Processes: g.processes, Options: g.options, unit: g.unit}
	if g.Protocol == unix.IPPROTO_UDP {
		h.Network = "udp4"
	}
	if g.Family == unix.AF_INET6 {
		h.Network = h.Network[:3] + "6"
	}
	if g.Remote.Port() != 0 {
		h.Remote = g.Remote
	}
	if !g.Leftover() {
		h.UID, h.User = int(g.UID), username(g.UID)
	}
	if g.Timer == 3 {
		h.Expires = g.Expires
	}
	return h
}

func newAsker() asker {
	uid, err := proc.SocketUID()
	if err != nil {
		uid = uint32(os.Geteuid())
	}
	return asker{uid: int(uid), name: username(uid), root: os.Geteuid() == 0}
}
func program() string { return "x" }
func username(uid uint32) string {
	return map[uint32]string{0: "root", 65534: "nobody", 1000: "alice"}[uid]
}
