//go:build unix || windows

package inuse

import (
	"net/netip"
	"strings"
)

// A row is a socket as one process has it, or as none has it, in what the system or a
// tool of it tells.
type row struct {
	network string         // "tcp4", "tcp6", "udp4", "udp6", "unix", "unixgram", "unixpacket"
	dual    bool           // of IPv6: it is known to take IPv4 as well
	local   netip.AddrPort // the address is unspecified for all addresses
	remote  netip.AddrPort // zero if it is not connected
	path    string         // of a unix socket
	state   string         // of TCP as in Holder; "" if it is not known
	socket  string         // what is the same for all processes that have it; "" if that is not known
	options Options

	pid     int    // 0 if no process is known
	parent  int    // 0 if it is not known
	command string // the name of the program
	uid     int    // -1 if it is not known
	user    string
}

// stream reports whether r is a socket of TCP.
func (r row) stream() bool { return strings.HasPrefix(r.network, "tcp") }

// connected reports whether r is a TCP connection, or what is left of one.
func (r row) connected() bool { return r.stream() && r.remote.IsValid() }

// sameZone reports whether two zones may be the same: a name and a number may, and one
// that is not known.
func sameZone(a, b string) bool {
	number := func(s string) bool { return strings.Trim(s, "0123456789") == "" }
	return a == b || number(a) != number(b) || a == "" || b == ""
}

// remoteOf returns an address that is a peer's: not that of a socket without one.
func remoteOf(addr netip.AddrPort) netip.AddrPort {
	if addr.Port() == 0 {
		return netip.AddrPort{}
	}
	return addr
}
