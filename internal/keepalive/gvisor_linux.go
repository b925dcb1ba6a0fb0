package keepalive

import (
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// GVisor reports whether the kernel is gVisor, which has Linux's interface but
// goes its own way where nothing can be tried without a socket that others see.
func GVisor() bool { return gVisor() }

var gVisor = sync.OnceValue(func() bool {
	var name unix.Utsname
	err := unix.Uname(&name)
	return err == nil && isGVisor(unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Version[:]))
})

// isGVisor knows gVisor by what uname(2) says: "4.19.0-gvisor" or
// "5.15.0-gvisor", and formerly "4.4.0", which Linux was once, with a date of
// its own (pkg/sentry/kernel/version).
func isGVisor(release, version string) bool {
	return strings.Contains(release, "gvisor") ||
		release == "4.4.0" && version == "#1 SMP Sun Jan 10 15:06:54 PST 2016"
}
