package testnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Seccomp gives all threads of this process a filter of system calls, and
// returns what seccomp(2) does.
func Seccomp(flags uint, filter []unix.SockFilter) (int, error) {
	// The first is of this thread alone, and the second needs it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	// Threads that package runtime starts later inherit the filter.
	n, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		uintptr(flags|unix.SECCOMP_FILTER_FLAG_TSYNC), uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return 0, fmt.Errorf("seccomp: %w", errno)
	}
	return int(n), nil
}

// seesArguments reports whether a filter sees the arguments of socket and setsockopt.
const seesArguments = runtime.GOARCH != "386" && runtime.GOARCH != "s390x"

// NeedArguments skips the test where a filter of system calls does not see the
// arguments of socket and setsockopt: there these are a socketcall.
func NeedArguments(t testing.TB) {
	t.Helper()
	if !seesArguments {
		t.Skip("needs system calls socket and setsockopt")
	}
}

// LowWord is where in an argument of a system call its lower half is.
func LowWord() uint32 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return 4
	}
	return 0
}

// behindEnv is set where BehindProc has done its work.
const behindEnv = "TESTNET_BEHIND"

// BehindProc begins this process again, as root, with another /proc: "none",
// an empty directory; "readonly"; or "hidepid", which does not list other users'
// processes. It returns nil when that is done.
func BehindProc(kind string) error {
	if os.Getenv(behindEnv) != "" {
		return nil
	}
	runtime.LockOSThread()
	exe, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0) // inherited
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	switch kind {
	case "none":
		err = unix.Mount("none", "/proc", "tmpfs", 0, "")
	case "readonly":
		err = unix.Mount("proc", "/proc", "proc", unix.MS_RDONLY, "")
	case "hidepid":
		err = unix.Mount("proc", "/proc", "proc", 0, "hidepid=2")
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", kind, err)
	}
	argv, err := syscall.SlicePtrFromStrings(os.Args)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(append(os.Environ(), behindEnv+"="+kind))
	if err != nil {
		return err
	}
	empty, _ := unix.BytePtrFromString("")
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(exe), uintptr(unsafe.Pointer(empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return errors.Join(errors.New("execveat"), errno)
}
