package reuse

import "golang.org/x/sys/unix"

// FreeBSD's SO_REUSEPORT is 4.4BSD's; the one that spreads load, of FreeBSD 12,
// has a name of its own.
const (
	supported = Addr | Port
	balances  = true

	portOption = unix.SO_REUSEPORT_LB
	portName   = "SO_REUSEPORT_LB"
)
