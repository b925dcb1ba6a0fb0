package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// look pretends that a bind has failed, and has that explained: Explain looks
// anew, and says so if the address is free.
func (t target) look(ctx context.Context) (result, error) {
	if _, ok := t.addr.(*net.UnixAddr); ok {
		return t.lookAtPath(ctx)
	}
	if strings.HasPrefix(t.network, "udp") {
		// Explain does not try to bind what could take somebody's datagrams,
		// so what the kernel checks before the port is left to be asked.
		if err := t.bindAddress(ctx); err != nil {
			r, _ := explained(ctx, err)
			return r, nil
		}
		if err := t.bindTwice(); err == unix.EACCES {
			r, _ := explained(ctx, t.refused(err))
			return r, nil
		}
	}
	r, ok := explained(ctx, t.refused(unix.EADDRINUSE))
	switch {
	case !ok: // the kernel has another reason, which has no explanation
		err := t.bindAddress(ctx)
		if err == nil {
			err = errors.New("the kernel refuses it, and shows no reason")
		}
		return unexplained(err), nil
	case r.free() && ctx.Err() != nil: // not all was seen
		return unexplained(ctx.Err()), nil
	}
	return r, nil
}

// bindAddress binds a UDP socket to the address, with no port at all, and
// returns what package net says to that.
func (t target) bindAddress(ctx context.Context) error {
	host, _, err := net.SplitHostPort(t.addr.String())
	if err != nil {
		return err
	}
	// Without this option, port 0 could become the very port on trial.
	var failed error
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		})
		return errors.Join(err, failed)
	}}
	pc, err := config.ListenPacket(ctx, "udp"+t.network[len("udp"):], net.JoinHostPort(host, "0"))
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
	ln, err := net.Listen("tcp"+t.network[len("udp"):], net.JoinHostPort(host, "0"))
	if err == nil {
		return ln.Close()
	}
	return err
}

// bindTwice returns what the kernel says to the port if nobody can have it: that
// a bound socket cannot be bound again, EINVAL, or before that EACCES, that this
// process may not have the port (__inet_bind).
func (t target) bindTwice() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Port: t.addr.(*net.UDPAddr).Port})
}
