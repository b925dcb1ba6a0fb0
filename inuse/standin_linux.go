package inuse

// To be removed when the others' parts are merged.

import (
	"context"
	"net/netip"

	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
)

const proc = procfs.FS("/proc")

type group struct {
	sockdiag.Socket
	count       int
	inodes      []uint32
	descriptors []procfs.Descriptor
}

func findOwners(ctx context.Context, groups []*group, worth func(*group) bool) sight {
	wanted := map[uint32]bool{}
	for _, g := range groups {
		for _, inode := range g.inodes {
			wanted[inode] = worth(g)
		}
	}
	owners := proc.FindOwners(ctx, wanted, nil)
	for _, g := range groups {
		for _, inode := range g.inodes {
			g.descriptors = append(g.descriptors, owners.Found[inode]...)
		}
	}
	return sight{others: owners.Forbidden > 0, hidden: owners.Hidden, late: owners.Skipped > 0, err: owners.Err}
}

func (g *group) holder() Holder {
	h := Holder{Network: "tcp4", Local: g.Local, State: g.State.String(), Count: g.count, UID: int(g.UID), User: username(g.UID), unit: unit{user: -1}}
	for _, d := range g.descriptors {
		name := proc.Command(d.PID)
		h.Processes = append(h.Processes, Process{PID: d.PID, Name: name, Command: name, State: "running", uid: h.UID, unit: unit{user: -1}})
	}
	return h
}

var _ = netip.AddrPort{}
