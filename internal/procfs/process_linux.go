package procfs

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Command returns the name of a process's program, without its arguments, which
// may hold secrets. It is "" if the process has ended.
func (fs FS) Command(pid int) string {
	comm, err := os.ReadFile(fs.process(pid, "comm"))
	if err != nil {
		return ""
	}
	name := strings.TrimSuffix(string(comm), "\n")
	// The kernel keeps 15 bytes of it. The rest is in the name of the file,
	// unless that is an interpreter. (Not from cmdline: to read that waits for
	// a lock of the process's memory, for ever if the process hangs.)
	const kept = 15
	if len(name) == kept {
		file, _ := os.Readlink(fs.process(pid, "exe"))
		if base := path.Base(file); strings.HasPrefix(base, name) {
			return strings.TrimSuffix(base, " (deleted)")
		}
	}
	return name
}

// Started returns when a process started, in clock ticks since boot, or 0 if it
// has ended.
func (fs FS) Started(pid int) uint64 {
	stat, err := os.ReadFile(fs.process(pid, "stat"))
	if err != nil {
		return 0
	}
	return parseStarted(string(stat))
}

// parseStarted reads the 22nd field. The second is the command in parentheses,
// which may hold blanks and parentheses itself.
func parseStarted(stat string) uint64 {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const started = 22 - 3 // fields begins with the third
	if len(fields) <= started {
		return 0
	}
	n, _ := strconv.ParseUint(fields[started], 10, 64)
	return n
}

// Options returns SO_REUSEADDR and SO_REUSEPORT of the socket with the inode
// that d was found to refer to. Another process's socket takes the right to
// trace it (ptrace(2)); the process does not notice.
func Options(d Descriptor, inode uint32) (reuseAddr, reusePort bool, err error) {
	fd, err := duplicate(d)
	if err != nil {
		return false, false, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return false, false, os.NewSyscallError("fstat", err)
	}
	if uint32(stat.Ino) != inode || stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return false, false, fmt.Errorf("descriptor %d of process %d is another file by now", d.FD, d.PID)
	}
	addr, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err != nil {
		return false, false, os.NewSyscallError("getsockopt SO_REUSEADDR", err)
	}
	port, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	if err != nil {
		return false, false, os.NewSyscallError("getsockopt SO_REUSEPORT", err)
	}
	return addr != 0, port != 0, nil
}

// duplicate returns a descriptor of this process for the file of d.
func duplicate(d Descriptor) (int, error) {
	if d.PID == os.Getpid() {
		fd, err := unix.FcntlInt(uintptr(d.FD), unix.F_DUPFD_CLOEXEC, 0)
		return fd, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	process, err := unix.PidfdOpen(d.PID, 0)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, d.FD, 0)
	return fd, os.NewSyscallError("pidfd_getfd", err)
}
