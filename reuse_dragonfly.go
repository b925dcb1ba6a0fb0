package reuse

import "golang.org/x/sys/unix"

const (
	supported = Addr | Port

	portOption = unix.SO_REUSEPORT
	portName   = "SO_REUSEPORT"
)

// balances is false in a jail, none of whose sockets joins a group
// (in_pcbinslocalgrouphash). DragonFly has no sockets for both versions of IP.
func balances(dual bool) bool {
	jailed, err := unix.SysctlUint32("jail.jailed")
	return err == nil && jailed == 0
}
