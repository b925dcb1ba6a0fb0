//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris

package inuse

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindPlain binds a TCP socket without options to the address, does not listen, and
// closes it.
func (a attempt) bindPlain() error {
	addr := a.local.Addr().Unmap()
	family := unix.AF_INET6
	if addr.Is4() || strings.HasSuffix(a.network, "4") {
		family = unix.AF_INET
	}
	fd, err := streamSocket(family)
	if err != nil && family == unix.AF_INET6 && !addr.IsValid() && !strings.HasSuffix(a.network, "6") {
		family = unix.AF_INET // there is no IPv6
		fd, err = streamSocket(family)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if family == unix.AF_INET {
		sa := &unix.SockaddrInet4{Port: int(a.local.Port())}
		if addr.Is4() {
			sa.Addr = addr.As4()
		}
		return os.NewSyscallError("bind", unix.Bind(fd, sa))
	}
	only := 1
	if (!addr.IsValid() || addr.IsUnspecified()) && !strings.HasSuffix(a.network, "6") {
		only = 0
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only) // OpenBSD has no other sockets than 1
	sa := &unix.SockaddrInet6{Port: int(a.local.Port()), ZoneId: zoneID(addr)}
	if addr.Is6() {
		sa.Addr = addr.As16()
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

func streamSocket(family int) (int, error) {
	syscall.ForkLock.RLock() // not all systems have SOCK_CLOEXEC
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}
