//go:build darwin || netbsd || openbsd

package reuse

import "golang.org/x/sys/unix"

const (
	supported = Addr | Port

	portOption = unix.SO_REUSEPORT
	portName   = "SO_REUSEPORT"
)

// balances is false: 4.4BSD's SO_REUSEPORT shares the port, and gives all
// connections to one of the sockets.
func balances(dual bool) bool { return false }
