package inuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/sockfile"
	"golang.org/x/sys/unix"
)

// pathHolders returns the sockets that are bound to a path or an abstract name: those of
// this network namespace or else, as a path is the same in all, of others.
func (a attempt) pathHolders(ctx context.Context, path string) (found pathHolders) {
	kernel := openKernel()
	defer kernel.close()
	sockets, err := kernel.unixSockets(ctx)
	if err != nil {
		return pathHolders{err: err}
	}
	found.holders, found.sight = a.ownersOf(ctx, boundTo(path, sockets))
	if len(found.holders) > 0 || !sockfile.IsFile(path) {
		return found
	}
	others, all := otherNetworks(ctx)
	for _, pid := range others {
		sockets, err := unixSocketsOf(ctx, pid)
		if err != nil {
			all = false
			continue
		}
		if bound := boundTo(path, sockets); len(bound) > 0 {
			found.holders, found.sight = a.ownersOf(ctx, bound)
			found.elsewhere = true
			return found
		}
	}
	// Where it is not known that somebody has it, those that were not looked at matter.
	found.elsewhere = true
	if !all {
		found.unseen = append(found.unseen, "other network namespaces, such as those of containers")
	}
	return found
}

// ownersOf returns the holders of sockets.
func (a attempt) ownersOf(ctx context.Context, sockets []sockdiag.UnixSocket) (holders []Holder, seen sight) {
	if len(sockets) == 0 {
		return nil, seen
	}
	var groups []*group
	for _, s := range sockets {
		groups = append(groups, &group{Socket: sockdiag.Socket{State: s.State, UID: s.UID, Inode: s.Inode}, count: 1, inodes: []uint32{s.Inode}})
	}
	seen = findOwners(ctx, groups, func(*group) bool { return true })
	for i, s := range sockets {
		h := groups[i].holder()
		h.Network, h.Path, h.State, h.Count = s.TypeName(), a.name(), s.State.String(), 1
		h.Local, h.Remote = Holder{}.Local, Holder{}.Remote
		if !s.UIDKnown {
			h.UID, h.User = -1, ""
			if len(h.Processes) > 0 {
				h.UID, h.User = h.Processes[0].uid, username(uint32(h.Processes[0].uid))
			}
		}
		holders = append(holders, h)
	}
	return holders, seen
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

// otherNetworks returns one process of each network namespace but this thread's. It is not
// all if there may be others.
func otherNetworks(ctx context.Context) (pids []int, all bool) {
	own, err := os.Readlink(filepath.Join(string(proc), "thread-self/ns/net"))
	if err != nil {
		return nil, false
	}
	dir, err := os.Open(string(proc))
	if err != nil {
		return nil, false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	all = err == nil
	seen := map[string]bool{own: true}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return pids, false
		}
		network, err := os.Readlink(filepath.Join(string(proc), name, "ns/net"))
		switch {
		case errors.Is(err, os.ErrPermission):
			all = false
		case err == nil && !seen[network]:
			seen[network] = true
			pids = append(pids, pid)
		}
	}
	return pids, all
}

// unixSocketsOf returns the unix sockets of the network namespace of a process.
func unixSocketsOf(ctx context.Context, pid int) ([]sockdiag.UnixSocket, error) {
	conn, err := openIn(pid)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.UnixSockets(ctx)
}

// openIn opens sock_diag in the network namespace of a process, on a thread of its own, which
// ends.
func openIn(pid int) (conn *sockdiag.Conn, err error) {
	fd, err := unix.Open(filepath.Join(string(proc), strconv.Itoa(pid), "ns/net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			err = os.NewSyscallError("setns", err)
			return
		}
		conn, err = sockdiag.Open()
	}()
	<-done
	return conn, err
}

// created returns when a file was made, if its file system knows it.
func created(path string) time.Time {
	var stat unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &stat)
	if err != nil || stat.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(stat.Btime.Sec, int64(stat.Btime.Nsec))
}
