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

// maxPath is how long the path of a unix socket can be.
const maxPath = len(windows.RawSockaddrUnix{}.Path) - 1

func writable(string) error { return nil }
