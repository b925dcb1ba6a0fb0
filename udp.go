package reuse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// listenUDP is ListenPacket for UDP. It sets an option before bind only where
// bind needs it, since what a socket has at that time decides whom it shares
// its port with.
func (m Mode) listenUDP(network, address string) (net.PacketConn, error) {
	// With either option set, Linux hands out for port 0 also ports that
	// other sockets with the same option have (udp_lib_get_port). So there
	// SO_REUSEPORT is set after bind; for those who join later it is as if it
	// had been set before.
	port0 := isPort0(address)
	var config net.ListenConfig
	if m&Port != 0 && !port0 {
		config.Control = func(_, _ string, c syscall.RawConn) error { return setPort(c) }
	}
	pc, err := config.ListenPacket(context.Background(), network, address)
	switch {
	case err == nil && m&Port != 0 && port0:
		return adjust(pc, network, setPort)
	case m&Addr != 0 && !port0 && inUse(err):
		return m.listenSealed(network, address)
	}
	return pc, err
}

// isPort0 reports whether the port of address is 0, in one of the spellings
// that package net takes for it: "", "0", "00", "+0".
func isPort0(address string) bool {
	number := address[strings.LastIndexByte(address, ':')+1:]
	return strings.Trim(number, "+-0") == ""
}

// listenSealed binds with SO_REUSEADDR and then clears it, which closes the
// port to whoever comes later: the kernel asks both sockets.
//
// Between the two calls the port is open. That is why it is the second try
// only: of two starters that both began here, both could win.
func (m Mode) listenSealed(network, address string) (net.PacketConn, error) {
	var seal bool
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if m&Port != 0 {
			if err := setPort(c); err != nil {
				return err
			}
		}
		// Package net sets SO_REUSEADDR before Control for a multicast
		// address, whose sockets are to keep it.
		multicast, err := hasAddr(c)
		if err != nil || multicast {
			return err
		}
		seal = true
		return setAddr(c, true)
	}}
	pc, err := config.ListenPacket(context.Background(), network, address)
	if err != nil || !seal {
		return pc, err
	}
	return adjust(pc, network, func(c syscall.RawConn) error {
		if err := setAddr(c, false); err != nil {
			return err
		}
		return sealed(network, pc.LocalAddr())
	})
}

// sealed returns nil if the kernel refuses to bind on top of a sealed socket.
// gVisor does not: it goes by what that had at its bind.
func sealed(network string, addr net.Addr) error {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return setAddr(c, true) }}
	top, err := config.ListenPacket(context.Background(), network, addr.String())
	switch {
	case err == nil:
		top.Close()
		return fmt.Errorf("the port stays open to whoever sets SO_REUSEADDR: %w", errors.ErrUnsupported)
	case inUse(err):
		return nil
	}
	return err
}

// adjust applies set to a bound socket, and closes it if that fails.
func adjust(pc net.PacketConn, network string, set func(syscall.RawConn) error) (net.PacketConn, error) {
	c, err := pc.(syscall.Conn).SyscallConn()
	if err == nil {
		err = set(c)
	}
	if err != nil {
		pc.Close()
		return nil, &net.OpError{Op: "listen", Net: network, Addr: pc.LocalAddr(), Err: err}
	}
	return pc, nil
}
