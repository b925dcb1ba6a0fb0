//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris

package inuse

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// errInUse is what package net says where the kernel refuses an address that is in
// use.
var errInUse error = os.NewSyscallError("bind", unix.EADDRINUSE)

// refusalOf returns which refusal err is, 0 for any other error.
func refusalOf(err error) refusal {
	errno, _ := errors.AsType[syscall.Errno](err)
	call, _ := errors.AsType[*os.SyscallError](err)
	bind := call != nil && call.Syscall == "bind"
	switch errno {
	case unix.EADDRINUSE:
		return refusedInUse
	case unix.EADDRNOTAVAIL:
		return refusedNotAvailable
	case unix.EACCES:
		return refusedNotPermitted
	case unix.EINVAL:
		return refusedInvalid
	case unix.EAGAIN: // for EADDRNOTAVAIL, of UDP (inet_autobind)
		if call != nil && call.Syscall == "connect" {
			return refusedNotAvailable
		}
	case unix.ENODEV:
		if bind {
			return refusedInvalid
		}
	case unix.EPERM:
		if bind {
			return refusedNotPermitted
		}
	case unix.ENOENT, unix.ENOTDIR, unix.EROFS, unix.ENAMETOOLONG, unix.EOPNOTSUPP:
		if bind {
			return refusedPath
		}
	}
	return 0
}

// maxPath is how long the path of a unix socket can be.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// writable returns why nothing may be made in a directory.
func writable(dir string) error {
	const writeAndSearch = 2 | 1
	if err := unix.Access(dir, writeAndSearch); err != nil {
		return &os.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}
