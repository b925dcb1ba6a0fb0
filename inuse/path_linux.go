package inuse

import (
	"context"
	"path/filepath"
	"strings"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// pathHolders returns the sockets bound to the file at path.
func (a attempt) pathHolders(ctx context.Context) (holders []Holder, unseen []string) {
	kernel := openKernel()
	defer kernel.close()
	sockets, err := kernel.unixSockets(ctx)
	if err != nil {
		return nil, []string{err.Error()}
	}
	found := boundTo(a.path, sockets)
	var groups []*group
	for _, s := range found {
		groups = append(groups, &group{Socket: sockdiag.Socket{UID: s.UID, Inode: s.Inode}, count: 1, inodes: []uint32{s.Inode}})
	}
	unseen = findOwners(ctx, groups, func(*group) bool { return true })
	for i, s := range found {
		h := Holder{Cause: CauseListener, Network: s.TypeName(), Path: a.path, State: s.State.String(), Count: 1, UID: -1,
			Inode: s.Inode, Processes: processesOf(groups[i].descriptors, true)}
		if s.UIDKnown {
			h.UID, h.User = int(s.UID), username(s.UID)
		}
		switch {
		case ownedBySelf(h.Processes):
			h.Cause = CauseSelf
		case len(h.Processes) == 0:
			h.Cause = CauseHidden
		case len(h.Processes) > 1:
			h.Cause = CauseInherited
		}
		holders = append(holders, h)
	}
	return holders, unseen
}

// boundTo returns those of sockets that have path.
func boundTo(path string, sockets []sockdiag.UnixSocket) []sockdiag.UnixSocket {
	var stat unix.Stat_t
	if unix.Lstat(path, &stat) != nil {
		stat.Ino = 0
	}
	// A file may be bound by another name than path: from another directory. So
	// it goes by the file, where the kernel tells it. On a file system that is
	// several devices stat tells another one than sock_diag.
	for _, matches := range []func(sockdiag.UnixSocket) bool{
		func(s sockdiag.UnixSocket) bool {
			return s.FileInode != 0 && s.FileInode == uint32(stat.Ino) && s.FileDevice == uint64(stat.Dev)
		},
		func(s sockdiag.UnixSocket) bool {
			return s.FileInode != 0 && s.FileInode == uint32(stat.Ino) && filepath.Base(s.Name) == filepath.Base(path)
		},
		func(s sockdiag.UnixSocket) bool { return s.FileInode == 0 && s.Name == abstractName(path) },
	} {
		var found []sockdiag.UnixSocket
		for _, s := range sockets {
			// A socket that was accepted has its listener's name. A
			// datagram socket is called established from the first peer on.
			accepted := s.State == sockdiag.Established && s.Type != unix.SOCK_DGRAM
			if matches(s) && !accepted {
				found = append(found, s)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// abstractName returns a unix address as sockdiag writes it.
func abstractName(path string) string {
	if strings.HasPrefix(path, "\x00") {
		return "@" + path[1:]
	}
	return path
}
