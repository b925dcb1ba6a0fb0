package inuse

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

var errInUse error = os.NewSyscallError("bind", windows.WSAEADDRINUSE)

// refusalOf returns which refusal err is, 0 for any other error.
func refusalOf(err error) refusal {
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case windows.WSAEADDRINUSE:
		return refusedInUse
	case windows.WSAEADDRNOTAVAIL:
		return refusedNotAvailable
	case windows.WSAEACCES:
		return refusedNotPermitted
	case windows.WSAEINVAL:
		return refusedInvalid
	}
	return 0
}
