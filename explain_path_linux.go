package reuse

import (
	"context"
	"os"
	"strings"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// pathHolders returns the sockets bound to the file at path.
func (a attempt) pathHolders(ctx context.Context) (holders []Holder, unseen []string) {
	kernel := openKernel()
	defer kernel.close()
	var sockets []sockdiag.UnixSocket
	err := error(unix.ENOENT)
	if kernel.conn != nil {
		sockets, err = kernel.conn.UnixSockets(ctx)
	}
	if err != nil && (kernel.conn == nil || sockdiag.Missing(err)) {
		sockets, err = sockdiag.ReadProcUnix()
	}
	if err != nil {
		return nil, []string{err.Error()}
	}
	var stat unix.Stat_t
	known := unix.Lstat(a.path, &stat) == nil
	l := look{attempt: a, kernel: kernel, user: user()}
	var found []sockdiag.UnixSocket
	for _, s := range sockets {
		// A path may be bound as it is or from another directory; what
		// tells for sure is the file, which not every kernel does.
		byFile := known && s.FileInode != 0 && s.FileInode == uint32(stat.Ino)
		byName := s.FileInode == 0 && s.Name == abstractName(a.path)
		// A socket that was accepted has its listener's name. A datagram
		// socket is called established from the first peer on.
		accepted := s.State == sockdiag.Established && s.Type != unix.SOCK_DGRAM
		if (byFile || byName) && !accepted {
			found = append(found, s)
			l.groups = append(l.groups, &group{Socket: sockdiag.Socket{UID: s.UID, Inode: s.Inode}, count: 1, inodes: []uint32{s.Inode}})
		}
	}
	l.owners(ctx)
	for i, s := range found {
		h := Holder{Cause: CauseListener, Network: s.TypeName(), Path: a.path, State: s.State.String(), Count: 1, UID: -1,
			Inode: s.Inode, Processes: processesOf(l.groups[i].descriptors, true)}
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
	return holders, l.unseen
}

func ownedBySelf(processes []Process) bool {
	for _, p := range processes {
		if p.PID == os.Getpid() {
			return true
		}
	}
	return false
}

// abstractName returns a unix address as sockdiag writes it.
func abstractName(path string) string {
	if strings.HasPrefix(path, "\x00") {
		return "@" + path[1:]
	}
	return path
}
