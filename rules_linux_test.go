package reuse_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// TestRules lets the kernel decide about combinations of a first socket and a second
// call, and compares with three rules that know nothing of the package. At length it
// has thousands, with all kinds of addresses.
func TestRules(t *testing.T) {
	firstPlaces, secondPlaces := testnet.FirstPlaces, testnet.SecondPlaces
	if !testnet.Long {
		one, other, dual := secondPlaces[0], secondPlaces[1], secondPlaces[len(secondPlaces)-1]
		firstPlaces, secondPlaces = []testnet.Place{firstPlaces[0], one, dual}, []testnet.Place{one, other, dual}
	}
	tcp, udp := tcpSeconds(t), udpSeconds()
	for _, test := range []struct {
		name    string
		hold    func(testing.TB, testnet.Place, uint16, testnet.Options) (held testnet.Place)
		seconds []testnet.Second
		rule    rule
	}{
		{"BOUND", testnet.HoldBound(unix.SOCK_STREAM), tcp, rule{addr: true}},
		{"LISTEN", testnet.HoldListening, tcp, rule{}},
		{"ESTABLISHED", testnet.HoldConnection(testnet.Established), tcp, rule{addr: true}},
		{"FIN_WAIT2", testnet.HoldConnection(testnet.FinWait2), tcp, rule{addr: true, orphan: true}},
		{"TIME_WAIT", testnet.HoldConnection(testnet.TimeWait), tcp, rule{addr: true, anyUID: true}},
		{"CLOSE_WAIT", testnet.HoldConnection(testnet.CloseWait), tcp, rule{addr: true}},
		{"LAST_ACK", testnet.HoldConnection(testnet.LastAck), tcp, rule{addr: true, orphan: true}},
		{"UDP", testnet.HoldBound(unix.SOCK_DGRAM), udp, rule{addr: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			tried := 0
			port := uint16(10000) // below those that clients get
			for _, at := range firstPlaces {
				for _, options := range []testnet.Options{testnet.NoOption, testnet.ReuseAddr, testnet.ReusePort, testnet.ReuseAddr | testnet.ReusePort} {
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
								if test.rule.orphan && uid != 0 && options&second.Options == testnet.ReusePort {
									continue // its uid depends on the kernel's version
								}
								want := !held.Overlaps(p) || test.rule.passes(options&second.Options, uid == 0)
								var err error
								testnet.As(t, uid, func() { err = second.At(p, port) })
								if tried++; (err == nil) != want || err != nil && !errors.Is(err, syscall.EADDRINUSE) {
									t.Errorf("first at %v with %v, %s at %v as uid %d: %v, want success %v",
										at, options, second.Name, p, uid, err, want)
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

func (r rule) passes(both testnet.Options, sameUID bool) bool {
	return both&testnet.ReuseAddr != 0 && r.addr || both&testnet.ReusePort != 0 && (sameUID || r.anyUID)
}

// tcpSeconds are those of TCP.
func tcpSeconds(t testing.TB) []testnet.Second {
	return []testnet.Second{
		{Name: "Addr.Listen", Options: testnet.ReuseAddr, At: testnet.Listening(reuse.Addr.Listen)},
		{Name: "Port.Listen", Options: testnet.ReuseAddr | testnet.ReusePort, At: testnet.Listening(reuse.Port.Listen)},
		{Name: "no option", Options: testnet.NoOption, At: testnet.Listening(func(network, address string) (net.Listener, error) {
			config := net.ListenConfig{Control: testnet.NoOption.Control}
			return config.Listen(t.Context(), network, address)
		})},
	}
}

// udpSeconds are those of UDP.
func udpSeconds() []testnet.Second {
	return []testnet.Second{
		{Name: "Addr.ListenPacket", Options: testnet.ReuseAddr, At: testnet.ListeningPacket(reuse.Addr.ListenPacket)},
		{Name: "Port.ListenPacket", Options: testnet.ReusePort, At: testnet.ListeningPacket(reuse.Port.ListenPacket)},
		{Name: "net.ListenPacket", Options: testnet.NoOption, At: testnet.ListeningPacket(net.ListenPacket)},
	}
}
