package reuse

import "golang.org/x/sys/unix"

// FreeBSD's SO_REUSEPORT is 4.4BSD's; the one that spreads load, of FreeBSD 12,
// has a name of its own.
const (
	supported = Addr | Port

	portOption = unix.SO_REUSEPORT_LB
	portName   = "SO_REUSEPORT_LB"
)

// balances is false for a socket of both versions of IP, and up to FreeBSD 13 in
// a jail: these join no group (in_pcbinslbgrouphash).
func balances(dual bool) bool {
	if dual {
		return false
	}
	if version, err := unix.SysctlUint32("kern.osreldate"); err == nil && version >= 1400000 {
		return true
	}
	jailed, err := unix.SysctlUint32("security.jail.jailed")
	return err == nil && jailed == 0
}
