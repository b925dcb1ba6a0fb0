package reuse_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// TestRules lets the kernel decide about combinations of a first socket and a second
// call, and compares with three rules that know nothing of the package. Built with
// the tag long, TestAllRules has all addresses.
func TestRules(t *testing.T) {
	one, other, dual := secondPlaces[0], secondPlaces[1], secondPlaces[len(secondPlaces)-1]
	checkRules(t, []place{firstPlaces[0], one, dual}, []place{one, other, dual})
}

func checkRules(t *testing.T, firstPlaces, secondPlaces []place) {
	tcp, udp := tcpSeconds(t), udpSeconds()
	for _, test := range []struct {
		name    string
		hold    func(testing.TB, place, uint16, reuseOptions) (held place)
		seconds []second
		rule    rule
	}{
		{"BOUND", holdBound(unix.SOCK_STREAM), tcp, rule{addr: true}},
		{"LISTEN", holdListening, tcp, rule{}},
		{"ESTABLISHED", holdConnection(testnet.Established), tcp, rule{addr: true}},
		{"FIN_WAIT2", holdConnection(testnet.FinWait2), tcp, rule{addr: true, orphan: true}},
		{"TIME_WAIT", holdConnection(testnet.TimeWait), tcp, rule{addr: true, anyUID: true}},
		{"CLOSE_WAIT", holdConnection(testnet.CloseWait), tcp, rule{addr: true}},
		{"LAST_ACK", holdConnection(testnet.LastAck), tcp, rule{addr: true, orphan: true}},
		{"UDP", holdBound(unix.SOCK_DGRAM), udp, rule{addr: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			tried := 0
			port := uint16(10000) // below those that clients get
			for _, at := range firstPlaces {
				for _, options := range []reuseOptions{noOption, addrOption, portOption, addrOption | portOption} {
					port++
					held := test.hold(t, at, port, options)
					for _, uid := range []int{0, 65534} {
						// The call without options comes last at each place,
						// because it makes the kernel forget what it found out
						// about the one with SO_REUSEPORT. (Of two places with
						// one wildcard it remembers only the address, and
						// would let the second in: sk_reuseport_match.)
						for _, p := range secondPlaces {
							for _, second := range test.seconds {
								if test.rule.orphan && uid != 0 && options&second.options == portOption {
									continue // its uid depends on the kernel's version
								}
								want := !overlap(held, p) || test.rule.passes(options&second.options, uid == 0)
								var err error
								testnet.As(t, uid, func() { err = second.at(p, port) })
								if tried++; (err == nil) != want || err != nil && !errors.Is(err, syscall.EADDRINUSE) {
									t.Errorf("first at %v with %v, %s at %v as uid %d: %v, want success %v",
										at, options, second.name, p, uid, err, want)
								}
							}
						}
					}
				}
			}
			t.Logf("%d combinations", tried)
		})
	}
}

// A rule says when a first socket lets a second in, although they overlap.
type rule struct {
	addr   bool // if both have SO_REUSEADDR
	anyUID bool // if both have SO_REUSEPORT, whoever owns them
	orphan bool // nobody owns the first
}

func (r rule) passes(both reuseOptions, sameUID bool) bool {
	return both&addrOption != 0 && r.addr || both&portOption != 0 && (sameUID || r.anyUID)
}

// A place is an address that a socket can be bound to.
type place struct {
	network string
	addr    netip.Addr
	extra   netip.Addr // an address that it overlaps besides
}

var (
	lo1    = netip.MustParseAddr("127.0.0.1")
	lo2    = netip.MustParseAddr("127.0.0.2")
	mapped = netip.MustParseAddr("::ffff:127.0.0.1")
	any4   = netip.IPv4Unspecified()
	lo6    = netip.IPv6Loopback()
	any6   = netip.IPv6Unspecified()

	secondPlaces = []place{{network: "4", addr: lo1}, {network: "4", addr: lo2}, {network: "4", addr: any4},
		{network: "6", addr: lo6}, {network: "6", addr: any6}, {network: "", addr: any6},
	}
	firstPlaces = append([]place{{network: "6", addr: mapped}}, secondPlaces...)
)

func (p place) String() string { return p.addr.String() + "/ip" + p.network }

func (p place) v6only() bool { return p.network == "6" && p.addr != mapped }

// covers reports whether a packet to dst could be meant for a socket at p.
func (p place) covers(dst netip.Addr) bool {
	switch p.addr {
	case any4:
		return dst.Is4()
	case any6:
		return dst.Is6() || !p.v6only()
	}
	return p.addr.Unmap() == dst
}

func overlap(p, q place) bool {
	for _, dst := range []netip.Addr{lo1, lo2, netip.MustParseAddr("192.0.2.1"), lo6, netip.MustParseAddr("2001:db8::1")} {
		if p.covers(dst) && q.covers(dst) {
			return true
		}
	}
	return p.extra == q.addr
}

// A second is a call that wants a port which is held.
type second struct {
	name    string
	options reuseOptions
	at      func(p place, port uint16) error
}

// tcpSeconds are those of TCP.
func tcpSeconds(t testing.TB) []second {
	return []second{
		{"Addr.Listen", addrOption, listenTCP(reuse.Addr.Listen)},
		{"Port.Listen", addrOption | portOption, listenTCP(reuse.Port.Listen)},
		{"no option", noOption, listenTCP(func(network, address string) (net.Listener, error) {
			config := net.ListenConfig{Control: noOption.control}
			return config.Listen(t.Context(), network, address)
		})},
	}
}

// udpSeconds are those of UDP.
func udpSeconds() []second {
	return []second{
		{"Addr.ListenPacket", addrOption, listenUDP(reuse.Addr.ListenPacket)},
		{"Port.ListenPacket", portOption, listenUDP(reuse.Port.ListenPacket)},
		{"net.ListenPacket", noOption, listenUDP(net.ListenPacket)},
	}
}

func listenTCP(listen func(network, address string) (net.Listener, error)) func(place, uint16) error {
	return func(p place, port uint16) error {
		ln, err := listen("tcp"+p.network, netip.AddrPortFrom(p.addr, port).String())
		if err == nil {
			ln.Close()
		}
		return err
	}
}

func listenUDP(listen func(network, address string) (net.PacketConn, error)) func(place, uint16) error {
	return func(p place, port uint16) error {
		pc, err := listen("udp"+p.network, netip.AddrPortFrom(p.addr, port).String())
		if err == nil {
			pc.Close()
		}
		return err
	}
}

// A hold function makes a first socket at p and port, and returns the address
// that it has.

func holdBound(kind int) func(testing.TB, place, uint16, reuseOptions) place {
	return func(t testing.TB, p place, port uint16, o reuseOptions) place {
		t.Helper()
		fd, err := bind(kind, netip.AddrPortFrom(p.addr, port), p.v6only(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return p
	}
}

func holdListening(t testing.TB, p place, port uint16, o reuseOptions) place {
	t.Helper()
	listenAt(t, p, port, o)
	return p
}

func holdConnection(state testnet.State) func(testing.TB, place, uint16, reuseOptions) place {
	return func(t testing.TB, p place, port uint16, o reuseOptions) place {
		t.Helper()
		// The connection's own address is a specific one.
		held := place{addr: p.addr.Unmap()}
		switch p.addr {
		case any4:
			held.addr = lo1
		case any6:
			held.addr = lo6
			if !p.v6only() {
				// Without IPV6_V6ONLY it counts as unbound in IPv4.
				held.extra = any4
			}
		}
		ln := listenAt(t, p, port, o)
		testnet.Leave(t, ln, netip.AddrPortFrom(held.addr, port).String(), state)
		return held
	}
}

// listenAt is not package net's Listen, which has no sockets at mapped addresses.
func listenAt(t testing.TB, p place, port uint16, o reuseOptions) net.Listener {
	t.Helper()
	fd, err := bind(unix.SOCK_STREAM, netip.AddrPortFrom(p.addr, port), p.v6only(), o)
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
