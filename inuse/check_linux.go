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

// checkPort is Check for TCP and UDP. It pretends that a bind has failed, and has
// that explained.
func (a attempt) checkPort(ctx context.Context) (*Error, error) {
	if strings.HasPrefix(a.network, "udp") {
		// An explanation binds nothing that could take somebody's datagrams, so
		// what the kernel checks before the port is left to be asked.
		err := a.bindAddress(ctx)
		if err == nil {
			err = a.bindTwice()
		}
		if err != nil {
			return explanationOf(ctx, err, a.unexplained(err)), nil
		}
	}
	e := a.explain(ctx)
	switch {
	case e == nil: // the kernel has another reason, which has no explanation
		err := a.bindAddress(ctx)
		if err == nil {
			err = errors.New("the kernel refuses it, and shows no reason")
		}
		return a.unexplained(err), nil
	case e.Cause == CauseFree && ctx.Err() != nil: // not all was seen
		return a.unexplained(ctx.Err()), nil
	}
	return e, nil
}

// explanationOf returns the explanation of err, or otherwise.
func explanationOf(ctx context.Context, err error, otherwise *Error) *Error {
	if a, ok := attemptOf(err); ok {
		if e := a.explain(ctx); e != nil {
			return e
		}
	}
	return otherwise
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
// it, EACCES. That comes before EINVAL, which says that a bound socket cannot be
// bound again (__inet_bind), so nobody gets the port.
func (a attempt) bindTwice() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // not about the port
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return nil
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(a.local.Port())}); err != unix.EACCES {
		return nil
	}
	op := *a.err.(*net.OpError)
	op.Err = os.NewSyscallError("bind", unix.EACCES)
	return &op
}
