package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// A target is the address on trial.
type target struct {
	network, address string
	addr             net.Addr // what net.Listen makes of the two
}

func (t target) String() string { return t.network + " " + t.address }

// parse reads the arguments [network] address.
func parse(args []string) (t target, err error) {
	switch len(args) {
	case 1:
		t = target{network: "tcp", address: args[0]}
		if strings.Contains(t.address, "/") {
			t.network = "unix"
		}
	case 2:
		t = target{network: args[0], address: args[1]}
	default:
		return t, errors.New("one address is needed")
	}
	if t.address == "" { // package net takes it for port 0
		return t, errors.New("the address is empty")
	}
	switch t.network {
	case "tcp", "tcp4", "tcp6":
		t.address = withColon(t.address)
		t.addr, err = net.ResolveTCPAddr(t.network, t.address)
	case "udp", "udp4", "udp6":
		t.address = withColon(t.address)
		t.addr, err = net.ResolveUDPAddr(t.network, t.address)
	case "unix", "unixgram", "unixpacket":
		// The kernel's sockaddr_un has 108 bytes, some systems' a few less.
		if len(t.address) > 108 || len(t.address) == 108 && t.address[0] != '@' {
			return t, fmt.Errorf("a unix socket's path has at most 107 bytes, not %d", len(t.address))
		}
		t.addr = &net.UnixAddr{Net: t.network, Name: t.address}
	default:
		return t, fmt.Errorf("unknown network %q", t.network)
	}
	return t, err
}

// withColon makes an address of a bare port.
func withColon(address string) string {
	if strings.Trim(address, "0123456789") == "" {
		return ":" + address
	}
	return address
}
