package keepalive

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// What net sets if neither KeepAlive nor KeepAliveConfig says anything.
const (
	idle     = 15 * time.Second
	interval = 15 * time.Second
	count    = 9
)

// Inherited reports whether connections inherit a listener's options. Before a
// client comes nothing shows it, so it is a matter of which kernel this is:
// Linux has always done so. gVisor takes the options, and its connections do not
// have them (propagateInheritableOptionsLocked).
func Inherited() bool { return !GVisor() }

// set sets the options. They are in the order of net's calls.
func set(fd uintptr) error {
	for _, option := range [...]struct {
		name                 string
		level, option, value int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(idle / time.Second)},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(interval / time.Second)},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, count},
	} {
		if err := unix.SetsockoptInt(int(fd), option.level, option.option, option.value); err != nil {
			return os.NewSyscallError("setsockopt "+option.name, err)
		}
	}
	return nil
}
