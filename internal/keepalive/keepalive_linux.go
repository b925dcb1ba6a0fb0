package keepalive

import (
	"bytes"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Inherited reports whether connections inherit a listener's options. Before a
// client comes nothing shows it, so it is a matter of which kernel this is:
// Linux has always done so, and gVisor, which calls itself Linux 4.19 or
// "-gvisor", takes the options and does not (propagateInheritableOptionsLocked).
var Inherited = sync.OnceValue(func() bool {
	var name unix.Utsname
	return unix.Uname(&name) == nil && isLinux(name.Release[:])
})

func isLinux(release []byte) bool {
	major, _, _ := bytes.Cut(release, []byte("."))
	old := len(major) == 1 && major[0] < '5'
	return !old && !bytes.Contains(release, []byte("gvisor"))
}

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
