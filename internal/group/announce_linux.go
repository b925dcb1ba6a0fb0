package group

import (
	"os"

	"golang.org/x/sys/unix"
)

// Announce makes others see that s, which is bound, is going to listen, until what it
// returns is closed: a listener that packets do not find. Most kernels do not show
// sockets that are bound only.
func (s *Socket) Announce() (*os.File, error) {
	var before []option
	if s.Key.v6only {
		before = []option{{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, "IPV6_V6ONLY"}}
	} else if s.Key.family == unix.AF_INET6 {
		before = []option{{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0, "IPV6_V6ONLY"}}
	}
	// After bind, which looks for the device of an address of IPv6.
	after := []option{{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, coming | int(s.Key.device), "SO_BINDTOIFINDEX"}}
	fd, _, err := openSocket(int(s.Key.family), unix.SOCK_STREAM, s.Key.uid, s.Key.local, before, after)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "announcement"), nil
}
