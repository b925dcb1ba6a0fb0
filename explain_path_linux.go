package reuse

import (
	"context"
	"os"
	"path/filepath"
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
	found := boundTo(a.path, sockets)
	l := look{attempt: a, kernel: kernel, user: user()}
	for _, s := range found {
		l.groups = append(l.groups, &group{Socket: sockdiag.Socket{UID: s.UID, Inode: s.Inode}, count: 1, inodes: []uint32{s.Inode}})
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

// listed reports whether procfs knows a socket at path although a probe found none,
// as in gVisor, which has no sock_diag. Where there is that, the probe is right.
func listed(ctx context.Context, path string) bool {
	kernel := openKernel()
	defer kernel.close()
	if kernel.conn != nil {
		return false
	}
	sockets, err := sockdiag.ReadProcUnix()
	return err == nil && len(boundTo(path, sockets)) > 0
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
