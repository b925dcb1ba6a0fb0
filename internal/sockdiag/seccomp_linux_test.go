package sockdiag

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setFilter sets a seccomp filter for the calling thread.
func setFilter(program *unix.SockFprog) error {
	_, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(program)))
	if errno != 0 {
		return errno
	}
	return nil
}
