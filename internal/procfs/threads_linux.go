package procfs

import (
	"context"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// lookInThreads looks through the descriptor tables of threads for what is missing.
func (o *Owners) lookInThreads(ctx context.Context, fs FS, pids []int, inodes map[uint32]bool) {
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
		for _, thread := range fs.tables(pid, compare) {
			more, err := o.look(ctx, fs, Descriptor{PID: pid, Thread: thread}, missing, true)
			if more {
				o.Skipped = len(pids) - i
			}
			if more || err != nil {
				break
			}
		}
		if len(o.rings) > 0 {
			o.lookInRings(fs, missing)
		}
	}
}

// tables returns threads of a process that have a descriptor table which the first
// thread has not: one for each table if they can be compared, else all.
func (fs FS) tables(pid int, compare bool) (threads []int) {
	dir, err := os.Open(fs.process(pid, "task"))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil || len(names) < 2 {
		return nil
	}
	seen := []int{pid}
	for _, name := range names {
		thread, err := strconv.Atoi(name)
		if err != nil || thread == pid {
			continue
		}
		if compare && sameTable(seen, thread) {
			continue
		}
		if len(threads) == 0 && compare {
			// It may be the table of all but the first.
			seen = seen[:0]
			if !sameTable([]int{pid}, pid) {
				compare = false // the kernel compares nothing
			} else {
				seen = append(seen, pid)
			}
		}
		seen = append(seen, thread)
		threads = append(threads, thread)
	}
	return threads
}

// sameTable reports whether a thread shares its descriptor table with one of others
// (kcmp(2)). Not known is no.
func sameTable(others []int, thread int) bool {
	const files = 2 // KCMP_FILES
	for _, other := range others {
		if order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(other), uintptr(thread), files, 0, 0, 0); errno == 0 && order == 0 {
			return true
		}
	}
	return false
}
