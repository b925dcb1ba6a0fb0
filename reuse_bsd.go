//go:build aix || darwin || dragonfly || netbsd || openbsd

package reuse

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// 4.4BSD's SO_REUSEPORT shares the port but gives all connections to one of the
// sockets. DragonFly spreads them, and AIX from 7.2.5 on.
const (
	supported = Addr | Port
	balances  = runtime.GOOS == "dragonfly"

	portOption = unix.SO_REUSEPORT
	portName   = "SO_REUSEPORT"
)
