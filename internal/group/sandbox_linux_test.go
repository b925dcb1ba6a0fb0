package group

import (
	"errors"
	"runtime"
	"unsafe"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// refuse makes the kernel answer the calling thread with errno when it sets an
// option. The thread is never to be used for anything else.
func refuse(option uint32, errno unix.Errno) error {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // seccomp_data.nr
		{Code: equal, Jf: 3, K: unix.SYS_SETSOCKOPT},
		{Code: load, K: 32 + testnet.LowWord()}, // its third argument
		{Code: equal, Jf: 1, K: option},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, failed := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if failed != 0 {
		return failed
	}
	return nil
}

// without takes a capability from the calling thread, and returns what gives it
// back.
func without(capability uint) (restore func() error, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		return nil, err
	}
	has := had
	has[capability/32].Effective &^= 1 << (capability % 32)
	if has == had {
		return nil, errors.New("the thread has not got the capability")
	}
	return func() error { return unix.Capset(&header, &had[0]) }, unix.Capset(&header, &has[0])
}

func ioctl[T any](fd int, request uint, arg *T) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(arg)))
	if errno != 0 {
		return errno
	}
	return nil
}
