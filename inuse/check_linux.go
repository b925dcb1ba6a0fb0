package inuse

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkAddress looks at a as if a bind of it had failed.
func (a attempt) checkAddress(ctx context.Context) *finding {
	if a.path != "" {
		return a.find(ctx)
	}
	// A look binds nothing that could take somebody's port or datagrams, so what the
	// kernel checks before the port is left to be asked.
	err := a.bindAddress(ctx)
	if err == nil {
		err = a.bindTwice()
	}
	if err == nil {
		if f := a.find(ctx); f != nil {
			return f
		}
	}
	return a.checkRefused(ctx, err)
}

// checkRefused looks at a, which the kernel refuses whoever has the port.
func (a attempt) checkRefused(ctx context.Context, err error) *finding {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // the address in op has another port
	}
	if refusal := refusalOf(err); refusal != 0 {
		a.refusal, a.err = refusal, a.refused(err)
		if f := a.find(ctx); f != nil {
			return f
		}
	}
	what := "the kernel refuses it, and shows no reason"
	if errors.Is(err, syscall.EMFILE) || err == nil && descriptorsUsedUp() {
		what = "this process may open no more files (ulimit -n)"
	} else if errno, ok := errors.AsType[syscall.Errno](err); ok {
		what = "the kernel refuses it (" + errno.Error() + ")"
	}
	return a.because(CauseUnknown, facts{"what": what})
}

// descriptorsUsedUp reports whether this process can open no more files.
func descriptorsUsedUp() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == unix.EMFILE
}

// bindAddress binds a socket to the address, with no port at all, and returns what
// package net says to that.
func (a attempt) bindAddress(ctx context.Context) error {
	host := ""
	if a.local.Addr().IsValid() {
		host = a.local.Addr().String()
	}
	version := a.network[len("udp"):]
	// Without this option, port 0 could become the very port on trial.
	var failed error
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		})
		return errors.Join(err, failed)
	}}
	// What ends ctx is no answer of the kernel.
	ctx = context.WithoutCancel(ctx)
	pc, err := config.ListenPacket(ctx, "udp"+version, net.JoinHostPort(host, "0"))
	if err == nil {
		return pc.Close()
	}
	if failed == nil {
		return err
	}
	if ip, _ := netip.ParseAddr(host); ip.IsMulticast() {
		return nil // it cannot be asked
	}
	// Emulators lack the option. TCP's ports are others, and the kernel checks
	// the address in the same way, but for those of multicast.
	ln, err := net.Listen("tcp"+version, net.JoinHostPort(host, "0"))
	if err == nil {
		return ln.Close()
	}
	return err
}

// bindTwice returns what the kernel says to the port if this process may not have
// it. That comes before EINVAL, which says that a bound socket cannot be bound again
// (__inet_bind), so nobody gets the port.
func (a attempt) bindTwice() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // not about the port
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil
	}
	loopback := [4]byte{127, 0, 0, 1}
	switch err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}); err {
	case nil:
	case unix.EACCES, unix.EPERM: // of a security policy, which may still allow the port
		return a.bindNowhere(err)
	default:
		return nil
	}
	switch err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback, Port: int(a.local.Port())}); err {
	case unix.EACCES, unix.EPERM:
		return os.NewSyscallError("bind", err)
	}
	return nil
}

// bindNowhere is bindTwice where a policy refuses the first bind, which is what it says
// without IPv6. A link-local address without its interface is refused after the port is
// (inet6_bind_sk), so nobody gets the port here either.
func (a attempt) bindNowhere(first error) error {
	kind := unix.SOCK_STREAM
	if strings.HasPrefix(a.network, "udp") {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("bind", first)
	}
	defer unix.Close(fd)
	switch err := unix.Bind(fd, &unix.SockaddrInet6{Addr: netip.MustParseAddr("fe80::1").As16(), Port: int(a.local.Port())}); err {
	case unix.EACCES, unix.EPERM:
		return os.NewSyscallError("bind", err)
	}
	return nil
}
