package inuse

// This file stands for owners_linux.go and asker_linux.go, and is to be removed when
// these are here.

import (
	"context"
	"os"

	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

const proc = procfs.FS("/proc")

type group struct {
	sockdiag.Socket
	count       int
	inodes      []uint32
	descriptors []procfs.Descriptor
}

func newAsker() asker {
	uid := os.Geteuid()
	return asker{uid: uid, name: username(uint32(uid)), root: uid == 0}
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
	h := Holder{Network: "tcp4", Local: g.Local, V6Only: g.V6Only, State: g.State.String(), Count: g.count, UID: int(g.UID), User: username(g.UID), unit: unit{user: -1}}
	if g.Protocol == unix.IPPROTO_UDP {
		h.Network = "udp4"
	}
	if g.Family == unix.AF_INET6 {
		h.Network = h.Network[:3] + "6"
	}
	for _, d := range g.descriptors {
		name := proc.Command(d.PID)
		h.Processes = append(h.Processes, Process{PID: d.PID, Name: name, Command: name, State: "running", uid: int(g.UID), unit: unit{user: -1}, Inherited: len(h.Processes) > 0})
	}
	return h
}
