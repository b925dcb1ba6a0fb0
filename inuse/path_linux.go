package inuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
		return pathHolders{err: err, sight: sight{late: ctx.Err() != nil}}
	}
	var file fileID
	if sockfile.IsFile(path) {
		file = fileOf(path)
	}
	found.holders, found.sight = a.ownersOf(ctx, boundTo(file, sockets, path, abstractName(a.path)))
	switch {
	case len(found.holders) > 0, !sockfile.IsFile(path):
		return found
	case slices.ContainsFunc(sockets, func(s sockdiag.UnixSocket) bool { return s.FileInode == 0 && s.Name != "" && s.Name[0] != '@' }):
		// Those of this namespace may have been bound by another name.
		found.unseen = append(found.unseen, "which files sockets have, as the kernel does not tell")
		return found
	}
	others, all := otherNetworks(ctx)
	for _, pid := range others {
		if sockets, err := unixSocketsOf(ctx, pid); err == nil {
			found.holders, found.sight = a.ownersOf(ctx, boundTo(file, sockets))
		} else if sockets, err := sockdiag.ReadProcUnixOf(pid); err == nil {
			found.holders, found.sight = a.namesakes(ctx, path, sockets)
			all = all && found.sight == sight{}
		} else {
			all = false
		}
		if len(found.holders) > 0 {
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

// namesakes returns the holders of those of sockets that have the file at a path, if they have
// processes that can be seen. Procfs tells names only, each as its process sees it.
func (a attempt) namesakes(ctx context.Context, path string, sockets []sockdiag.UnixSocket) (holders []Holder, seen sight) {
	sockets = slices.DeleteFunc(sockets, func(s sockdiag.UnixSocket) bool {
		accepted := s.State == sockdiag.Established && s.Type != unix.SOCK_DGRAM
		return accepted || !filepath.IsAbs(s.Name) || filepath.Base(s.Name) != filepath.Base(path)
	})
	info, err := os.Lstat(path)
	if err != nil {
		return nil, seen
	}
	all, seen := a.ownersOf(ctx, sockets)
	for i, h := range all {
		for _, p := range h.Processes {
			own, err := os.Lstat(filepath.Join(string(proc), strconv.Itoa(p.PID), "root", sockets[i].Name))
			if err == nil && os.SameFile(info, own) {
				holders = append(holders, h)
				break
			}
		}
	}
	return holders, seen
}

// A fileID is a file as sock_diag tells of it: by the low half of its inode, and by its file
// system. That is not always the device of stat(2), as on btrfs.
type fileID struct {
	inode  uint32
	device uint64
}

// fileOf returns the file at a path, zero if there is none.
func fileOf(path string) (id fileID) {
	var stat unix.Stat_t
	if unix.Lstat(path, &stat) != nil {
		return id
	}
	id = fileID{uint32(stat.Ino), uint64(stat.Dev)}
	var mount unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &mount)
	if err != nil || mount.Mask&unix.STATX_MNT_ID == 0 {
		return id
	}
	text, err := os.ReadFile(filepath.Join(string(proc), "thread-self/mountinfo"))
	if err != nil {
		return id
	}
	for line := range strings.Lines(string(text)) { // "id parent major:minor …"
		var number, parent uint64
		var major, minor uint32
		if n, _ := fmt.Sscanf(line, "%d %d %d:%d", &number, &parent, &major, &minor); n == 4 && number == mount.Mnt_id {
			id.device = unix.Mkdev(major, minor)
		}
	}
	return id
}

// boundTo returns those of sockets that have a file or, of those of which the kernel does
// not tell the file, one of the names: a file may be bound by other names, from another
// directory.
func boundTo(file fileID, sockets []sockdiag.UnixSocket, names ...string) (found []sockdiag.UnixSocket) {
	for _, s := range sockets {
		// A socket that was accepted has its listener's name. A datagram socket is
		// called established from the first peer on.
		accepted := s.State == sockdiag.Established && s.Type != unix.SOCK_DGRAM
		has := s.FileInode != 0 && file == fileID{s.FileInode, s.FileDevice}
		if s.FileInode == 0 {
			has = s.Name != "" && slices.Contains(names, s.Name)
		}
		if has && !accepted {
			found = append(found, s)
		}
	}
	return found
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
	all = err == nil && slices.Contains(names, "1") // else /proc hides some (hidepid)
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
	if err != nil || stat.Mask&unix.STATX_BTIME == 0 || stat.Btime.Sec == 0 {
		return time.Time{}
	}
	return time.Unix(stat.Btime.Sec, int64(stat.Btime.Nsec))
}
