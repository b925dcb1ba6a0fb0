package procfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

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

// pidfdThread is PIDFD_THREAD, of Linux 6.9: the descriptor table is that of a thread.
const pidfdThread = unix.O_EXCL

// duplicate returns a descriptor of this process for the file of d.
func duplicate(d Descriptor) (int, error) {
	if d.FD < 0 {
		return -1, fmt.Errorf("process %d has no descriptor of it", d.PID)
	}
	if d.PID == os.Getpid() && d.Thread == 0 {
		fd, err := unix.FcntlInt(uintptr(d.FD), unix.F_DUPFD_CLOEXEC, 0)
		return fd, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	pid, flags := d.PID, 0
	if d.Thread != 0 {
		pid, flags = d.Thread, pidfdThread
	}
	process, err := unix.PidfdOpen(pid, flags)
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, d.FD, 0)
	return fd, os.NewSyscallError("pidfd_getfd", err)
}
