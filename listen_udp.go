package reuse

import (
	"context"
	"net"
	"strings"
	"syscall"
)

// listenUDP is ListenPacket for UDP. It sets an option before bind only where
// bind needs it, since what a socket has at that time decides whom it shares
// its port with.
func (m Mode) listenUDP(network, address string) (net.PacketConn, error) {
	port0 := isPort0(address)
	// With either option set, Linux hands out for port 0 also ports that
	// other sockets with the same option have (udp_lib_get_port). So there
	// SO_REUSEPORT is set after bind; for those who join later it is as if it
	// had been set before.
	late := port0 && lateOptions() // listen_udp_linux.go, listen_udp_other.go
	var config net.ListenConfig
	if m&Port != 0 && !late {
		config.Control = func(_, _ string, c syscall.RawConn) error { return setPort(c) }
	}
	pc, err := config.ListenPacket(context.Background(), network, address)
	switch {
	case err == nil && m&Port != 0 && late:
		return adjust(pc, network, setPort) // reuse_unix.go
	case m&Addr != 0 && !port0 && inUse(err):
		return m.listenSealed(network, err) // listen_udp_linux.go, listen_udp_other.go
	}
	return pc, err
}

// isPort0 reports whether the port of address is 0, in one of the spellings
// that package net takes for it: "", "0", "00", "+0".
func isPort0(address string) bool {
	number := address[strings.LastIndexByte(address, ':')+1:]
	return strings.Trim(number, "+-0") == ""
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
