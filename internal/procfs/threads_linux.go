package procfs

import (
	"context"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lookInThreads looks through the descriptor tables of threads for what is missing.
func (o *Owners) lookInThreads(ctx context.Context, g *Guard, fs FS, pids []int, inodes map[uint32]bool) {
	compare := !fs.Sandboxed()
	for i, pid := range pids {
		missing := o.missing(inodes)
		if len(missing) == 0 {
			return
		}
		if ctx.Err() != nil {
			o.Skipped = len(pids) - i
			return
		}
		threads := fs.threads(pid)
		if compare && len(threads) > 0 {
			var different []int
			var ok bool
			// kcmp takes a lock that a process which begins a program may not give.
			if g.Do(ctx, func() { different, ok = differentTables(pid, threads) }) && ok {
				threads = different
			}
		}
		for _, thread := range threads {
			more, err := o.look(ctx, fs, Descriptor{PID: pid, Thread: thread}, missing, true)
			if more {
				o.Skipped = len(pids) - i
			}
			if more || err != nil {
				break
			}
		}
		o.lookInRings(fs, missing)
	}
}

// threads returns those of a process but the first, whose number is the process's.
func (fs FS) threads(pid int) (threads []int) {
	dir, err := os.Open(fs.process(pid, "task"))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if thread, err := strconv.Atoi(name); err == nil && thread != pid {
			threads = append(threads, thread)
		}
	}
	return threads
}

// differentTables returns one thread for each descriptor table that the first thread
// has not. It is not ok if the kernel does not compare them.
func differentTables(first int, threads []int) (different []int, ok bool) {
	tables := []int{first}
	for _, thread := range threads {
		known := false
		for _, other := range tables {
			same, err := sameTable(other, thread)
			if err != nil && err != unix.ESRCH { // ended meanwhile
				return nil, false
			}
			known = known || same
		}
		if !known {
			tables = append(tables, thread)
		}
	}
	return tables[1:], true
}

// sameTable reports whether two threads share a descriptor table (kcmp(2)).
func sameTable(a, b int) (bool, error) {
	const files = 2 // KCMP_FILES
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), files, 0, 0, 0)
	if errno != 0 {
		return false, errno
	}
	return order == 0, nil
}
