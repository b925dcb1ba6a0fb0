package shard

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"

	"example.com/reuse"
)

// Listen opens n TCP listeners on one port, or as many as GOMAXPROCS says if n is
// 0. They are those of reuse.Port.Listen, for the networks "tcp", "tcp4" and
// "tcp6".
//
// All have the address that the first one got: a name that has several addresses
// is looked up once, and port 0 is one free port that no other socket has. Others
// that listen on a port that is not 0, with SO_REUSEPORT and as the same user,
// get their share of its connections.
//
// Where [reuse.Balances] is false, the error wraps errors.ErrUnsupported. If one
// cannot be opened, those before are closed.
func Listen(network, address string, n int) ([]*net.TCPListener, error) {
	return open(network, address, n, func(address string) (*net.TCPListener, net.Addr, error) {
		ln, err := reuse.Port.Listen(network, address)
		if err != nil {
			return nil, nil, err
		}
		tcp, ok := ln.(*net.TCPListener)
		if !ok {
			ln.Close()
			return nil, nil, listenError(network, address, net.UnknownNetworkError(network))
		}
		return tcp, ln.Addr(), nil
	})
}

// ListenPacket opens n UDP sockets on one port, as Listen does: those of
// reuse.Port.ListenPacket, for the networks "udp", "udp4" and "udp6".
//
// Of a multicast datagram each socket gets a copy, as ever.
func ListenPacket(network, address string, n int) ([]*net.UDPConn, error) {
	return open(network, address, n, func(address string) (*net.UDPConn, net.Addr, error) {
		pc, err := reuse.Port.ListenPacket(network, address)
		if err != nil {
			return nil, nil, err
		}
		udp, ok := pc.(*net.UDPConn)
		if !ok {
			pc.Close()
			return nil, nil, listenError(network, address, net.UnknownNetworkError(network))
		}
		return udp, pc.LocalAddr(), nil
	})
}

func listenError(network, address string, err error) error {
	return &net.OpError{Op: "listen", Net: network, Addr: literalAddr{network, address}, Err: err}
}

// A literalAddr is an address as the caller wrote it, as in package reuse.
type literalAddr struct{ network, address string }

func (a literalAddr) Network() string { return a.network }
func (a literalAddr) String() string  { return a.address }

// balances returns an error if the kernel does not spread load over sockets at the
// address. Networks it does not know are package reuse's to refuse.
func balances(network, address string) error {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return nil
	}
	switch protocol := network[:3]; {
	case reuse.Balances(network, address):
		return nil
	case reuse.Balances(protocol+"4", address):
		return fmt.Errorf("the kernel does not spread load over sockets that take both IPv4 and IPv6: open %s4 and %[1]s6 apart: %w", protocol, errors.ErrUnsupported)
	}
	return fmt.Errorf("shard on this system: %w", errors.ErrUnsupported)
}

type socket interface {
	syscall.Conn
	io.Closer
}

// open opens n sockets by listen.
func open[S socket](network, address string, n int, listen func(address string) (S, net.Addr, error)) ([]S, error) {
	if err := balances(network, address); err != nil {
		return nil, listenError(network, address, err)
	}
	switch {
	case n < 0:
		return nil, listenError(network, address, fmt.Errorf("a shard of %d sockets", n))
	case n == 0:
		n = runtime.GOMAXPROCS(0)
	}
	number := address[strings.LastIndexByte(address, ':')+1:]
	port0 := strings.Trim(number, "+-0") == "" // as package net takes it
	for tries := 10; ; tries-- {
		socks, err := openAll(address, n, listen)
		if err != nil || !port0 {
			return socks, err
		}
		// The port is nobody else's when the first socket gets it. One that
		// has SO_REUSEPORT and asks for port 0, too, can get it from the
		// kernel then (udp_lib_get_port).
		if err = alone(socks); err == nil {
			return socks, nil
		}
		closeAll(socks)
		if !errors.Is(err, ErrShared) || tries == 0 {
			return nil, listenError(network, address, err)
		}
	}
}

func openAll[S socket](address string, n int, listen func(address string) (S, net.Addr, error)) (socks []S, err error) {
	for range n {
		s, addr, err := listen(address)
		if err != nil {
			closeAll(socks)
			return nil, err
		}
		socks, address = append(socks, s), addr.String()
	}
	return socks, nil
}

func closeAll[S io.Closer](socks []S) {
	for _, s := range socks {
		s.Close()
	}
}
