package testnet

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A Place is an address that a socket can be bound to.
type Place struct {
	Network string // "4" or "6"; "" both
	Addr    netip.Addr
	extra   netip.Addr // an address that it overlaps besides
}

// FirstPlaces are where a first socket can be, and SecondPlaces where a second one
// can that comes by package net.
var (
	lo1    = netip.MustParseAddr("127.0.0.1")
	lo2    = netip.MustParseAddr("127.0.0.2")
	mapped = netip.MustParseAddr("::ffff:127.0.0.1")
	any4   = netip.IPv4Unspecified()
	lo6    = netip.IPv6Loopback()
	any6   = netip.IPv6Unspecified()

	SecondPlaces = []Place{{Network: "4", Addr: lo1}, {Network: "4", Addr: lo2}, {Network: "4", Addr: any4},
		{Network: "6", Addr: lo6}, {Network: "6", Addr: any6}, {Network: "", Addr: any6},
	}
	FirstPlaces = append([]Place{{Network: "6", Addr: mapped}}, SecondPlaces...)
)

func (p Place) String() string { return p.Addr.String() + "/ip" + p.Network }

// V6Only reports whether a socket there has IPV6_V6ONLY.
func (p Place) V6Only() bool { return p.Network == "6" && p.Addr != mapped }

// covers reports whether a packet to dst could be meant for a socket at p.
func (p Place) covers(dst netip.Addr) bool {
	switch p.Addr {
	case any4:
		return dst.Is4()
	case any6:
		return dst.Is6() || !p.V6Only()
	}
	return p.Addr.Unmap() == dst
}

// Overlaps reports whether a packet could be meant for sockets at p and at q.
func (p Place) Overlaps(q Place) bool {
	for _, dst := range []netip.Addr{lo1, lo2, netip.MustParseAddr("192.0.2.1"), lo6, netip.MustParseAddr("2001:db8::1")} {
		if p.covers(dst) && q.covers(dst) {
			return true
		}
	}
	return p.extra == q.Addr
}

// HoldBound returns a function that holds a place with a socket that is bound only,
// and returns the place that it has. So do the other Hold functions.
func HoldBound(kind int) func(testing.TB, Place, uint16, Options) Place {
	return func(t testing.TB, p Place, port uint16, o Options) Place {
		t.Helper()
		fd, err := Bind(kind, netip.AddrPortFrom(p.Addr, port), p.V6Only(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return p
	}
}

// HoldListening holds a place with a listener.
func HoldListening(t testing.TB, p Place, port uint16, o Options) Place {
	t.Helper()
	ListenAt(t, p, port, o)
	return p
}

// HoldConnection returns a function that holds a place with a connection that a
// listener there has left in the state.
func HoldConnection(state State) func(testing.TB, Place, uint16, Options) Place {
	return func(t testing.TB, p Place, port uint16, o Options) Place {
		t.Helper()
		// The connection's own address is a specific one.
		held := Place{Addr: p.Addr.Unmap()}
		switch p.Addr {
		case any4:
			held.Addr = lo1
		case any6:
			held.Addr = lo6
			if !p.V6Only() {
				// Without IPV6_V6ONLY it counts as unbound in IPv4.
				held.extra = any4
			}
		}
		ln := ListenAt(t, p, port, o)
		Leave(t, ln, netip.AddrPortFrom(held.Addr, port).String(), state)
		return held
	}
}

// ListenAt opens a listener. It is not package net's Listen, which has no sockets at mapped addresses.
func ListenAt(t testing.TB, p Place, port uint16, o Options) net.Listener {
	t.Helper()
	fd, err := Bind(unix.SOCK_STREAM, netip.AddrPortFrom(p.Addr, port), p.V6Only(), o)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// A Second is a call that wants a port which is held.
type Second struct {
	Name    string
	Options Options
	At      func(p Place, port uint16) error
}

// Listening returns the At of a Second that listens.
func Listening(listen func(network, address string) (net.Listener, error)) func(Place, uint16) error {
	return func(p Place, port uint16) error {
		ln, err := listen("tcp"+p.Network, netip.AddrPortFrom(p.Addr, port).String())
		if err == nil {
			ln.Close()
		}
		return err
	}
}

// ListeningPacket returns the At of a Second of UDP.
func ListeningPacket(listen func(network, address string) (net.PacketConn, error)) func(Place, uint16) error {
	return func(p Place, port uint16) error {
		pc, err := listen("udp"+p.Network, netip.AddrPortFrom(p.Addr, port).String())
		if err == nil {
			pc.Close()
		}
		return err
	}
}
