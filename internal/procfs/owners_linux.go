package procfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Descriptor is an open file of a process.
type Descriptor struct {
	PID    int
	FD     int // -1 if it has no number: it is a fixed file of an io_uring
	Thread int // the thread whose it is, if that is not the first; else 0
}

// Owners are the descriptors of sockets, by inode.
type Owners struct {
	Found map[uint32][]Descriptor

	// What was left out, and may hold a descriptor not found.
	Forbidden int   // processes whose descriptors may not be read: other users', or more privileged
	Skipped   int   // processes not looked through because the context ended
	Hidden    bool  // processes of other users are not listed (hidepid)
	Err       error // procfs is not to be read at all

	rings []Descriptor // of io_uring
}

// firstDescriptors is how many descriptors of each process the first round looks
// at. A server opens its listeners before it accepts, and a child inherits them
// under the same low numbers; a second round, through all there are, is for what
// the first did not find.
const firstDescriptors = 64

// FindOwners looks for the descriptors of the sockets that are keys of inodes, in
// the processes first before all others. It finds every process that has the
// socket among its first 64 descriptors. Where none has it there and its value is
// true, it looks through all others; then through the fixed files of each io_uring; then
// through the descriptor tables of threads, of which a process has more than one if it
// has unshared them (CLONE_FILES) or if its first thread has ended.
//
// It does not find what is in no table: a socket on its way from one process to another,
// the kernel's own, and the fixed files of an io_uring that has no descriptor itself or,
// before Linux 6.13, of any.
func (fs FS) FindOwners(ctx context.Context, g *Guard, inodes map[uint32]bool, first []int) Owners {
	owners := Owners{Found: map[uint32][]Descriptor{}}
	if len(inodes) == 0 {
		return owners
	}
	pids, err := fs.Processes()
	if err != nil {
		owners.Err = err
		return owners
	}
	owners.Hidden = !slices.Contains(pids, 1)
	var long []int // processes with more descriptors
	order := inOrder(first, pids)
	for i, pid := range order {
		if ctx.Err() != nil {
			owners.Skipped = len(order) - i
			return owners
		}
		more, err := owners.look(ctx, fs, Descriptor{PID: pid}, inodes, false)
		switch {
		case errors.Is(err, os.ErrPermission):
			// The kernel says so of one that has just ended, too.
			if _, err := os.Stat(fs.process(pid, "")); err == nil {
				owners.Forbidden++
			}
		case more:
			long = append(long, pid)
		}
	}
	for i, pid := range long {
		missing := owners.missing(inodes)
		if len(missing) == 0 {
			break
		}
		more, _ := owners.look(ctx, fs, Descriptor{PID: pid}, missing, true)
		if more {
			owners.Skipped = len(long) - i
			return owners
		}
	}
	if missing := owners.missing(inodes); len(missing) > 0 {
		owners.lookInRings(fs, missing)
	}
	owners.lookInThreads(ctx, g, fs, order, inodes)
	return owners
}

// inOrder returns pids with this process and those of first in front.
func inOrder(first, pids []int) []int {
	listed, taken := map[int]bool{}, map[int]bool{}
	for _, pid := range pids {
		listed[pid] = true
	}
	var order []int
	for _, pid := range slices.Concat([]int{os.Getpid()}, first, pids) {
		if listed[pid] && !taken[pid] {
			taken[pid] = true
			order = append(order, pid)
		}
	}
	return order
}

// missing returns the inodes that are worth a second round, since no descriptor is
// found.
func (o *Owners) missing(inodes map[uint32]bool) map[uint32]bool {
	missing := map[uint32]bool{}
	for inode, worth := range inodes {
		if worth && len(o.Found[inode]) == 0 {
			missing[inode] = true
		}
	}
	return missing
}

// look adds descriptors of the table that a process or one of its threads has. It
// reports whether there are more than it looked at.
func (o *Owners) look(ctx context.Context, fs FS, of Descriptor, inodes map[uint32]bool, all bool) (more bool, err error) {
	dir, err := os.Open(fs.table(of, "fd"))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	buf := make([]byte, 64)
	for {
		names, err := dir.Readdirnames(firstDescriptors)
		if err != nil { // io.EOF, or the process has ended
			return false, nil
		}
		for _, name := range names {
			n, err := unix.Readlinkat(int(dir.Fd()), name, buf)
			if errors.Is(err, os.ErrPermission) {
				// The same user's, with privileges that this one
				// lacks: its descriptors are listed, no more.
				return false, err
			}
			if err != nil {
				continue // closed in the meantime
			}
			link := string(buf[:n])
			inode, ok := socketInode(link)
			isRing := link == "anon_inode:[io_uring]"
			if _, wanted := inodes[inode]; !isRing && !(ok && wanted) {
				continue
			}
			fd, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			d := Descriptor{PID: of.PID, FD: fd, Thread: of.Thread}
			if isRing {
				o.rings = append(o.rings, d)
			} else {
				o.Found[inode] = append(o.Found[inode], d)
			}
		}
		if !all {
			return len(names) == firstDescriptors, nil
		}
		if ctx.Err() != nil {
			return true, nil
		}
	}
}

// table returns the name of a directory that shows the table of d.
func (fs FS) table(d Descriptor, name string) string {
	if d.Thread != 0 {
		name = filepath.Join("task", strconv.Itoa(d.Thread), name)
	}
	return fs.process(d.PID, name)
}

// socketInode parses what a socket's descriptor links to.
func socketInode(link string) (inode uint32, ok bool) {
	number, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32)
	return uint32(n), err == nil
}

// Processes returns the ids of all processes that procfs lists.
func (fs FS) Processes() ([]int, error) {
	dir, err := os.Open(string(fs))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("%s lists no process", fs)
	}
	return pids, nil
}
