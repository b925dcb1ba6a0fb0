package reuse

import "golang.org/x/sys/unix"

const (
	supported = Addr | Port

	portOption = unix.SO_REUSEPORT
	portName   = "SO_REUSEPORT"
)

// balances is true for every address (reuseport_select_sock).
func balances(dual bool) bool { return true }
