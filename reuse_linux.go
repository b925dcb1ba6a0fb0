package reuse

import "golang.org/x/sys/unix"

const (
	supported = Addr | Port
	balances  = true // reuseport_select_sock

	portOption = unix.SO_REUSEPORT
	portName   = "SO_REUSEPORT"
)
