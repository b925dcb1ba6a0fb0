package reuse

import "golang.org/x/sys/unix"

const (
	supported = Addr | Port

	portOption = unix.SO_REUSEPORT
	portName   = "SO_REUSEPORT"
)

// balances is false: AIX spreads load from 7.2.5 on, and which one this is cannot
// be told.
func balances(dual bool) bool { return false }
