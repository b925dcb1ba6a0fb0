//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris

package reuse

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// refusalOf returns which refusal err is, 0 for any other error.
func refusalOf(err error) refusal {
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case unix.EADDRINUSE:
		return refusedInUse
	case unix.EADDRNOTAVAIL:
		return refusedNotAvailable
	case unix.EACCES:
		return refusedNotPermitted
	case unix.EINVAL:
		return refusedInvalid
	}
	return 0
}
