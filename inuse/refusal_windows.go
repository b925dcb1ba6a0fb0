package inuse

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

var errInUse error = os.NewSyscallError("bind", windows.WSAEADDRINUSE)

// refusalOf knows the one refusal that can be explained there.
func refusalOf(err error) refusal {
	if errors.Is(err, windows.WSAEADDRNOTAVAIL) {
		return refusedNotAvailable
	}
	return 0
}

func writable(string) error { return nil }
