package inuse_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
)

// TestExplainTable explains every refusal among combinations of a first socket's
// state, options and address with a second call, its address and its user, and
// compares the cause with what the test knows it has made. At length it has
// thousands, with all kinds of addresses.
func TestExplainTable(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	firstPlaces, secondPlaces, least := testnet.FirstPlaces, testnet.SecondPlaces, 50
	allOptions := []testnet.Options{testnet.NoOption, testnet.ReuseAddr, testnet.ReusePort, testnet.ReuseAddr | testnet.ReusePort}
	if !testnet.Long {
		one, dual := secondPlaces[0], secondPlaces[len(secondPlaces)-1]
		firstPlaces, secondPlaces, least = []testnet.Place{one}, []testnet.Place{one, dual}, 5
		allOptions = allOptions[1:3]
	}
	tcp := []testnet.Second{
		{Name: "Addr.Listen", At: testnet.Listening(reuse.Addr.Listen)},
		{Name: "Port.Listen", At: testnet.Listening(reuse.Port.Listen)},
		{Name: "no option", At: testnet.Listening(func(network, address string) (net.Listener, error) {
			config := net.ListenConfig{Control: testnet.NoOption.Control}
			return config.Listen(t.Context(), network, address)
		})},
	}
	udp := []testnet.Second{
		{Name: "Addr.ListenPacket", At: testnet.ListeningPacket(reuse.Addr.ListenPacket)},
		{Name: "Port.ListenPacket", At: testnet.ListeningPacket(reuse.Port.ListenPacket)},
		{Name: "net.ListenPacket", At: testnet.ListeningPacket(net.ListenPacket)},
	}
	for _, test := range []struct {
		name    string
		kind    string // of a process that holds it; "" if this one does
		hold    func(testing.TB, testnet.Place, uint16, testnet.Options) (held testnet.Place)
		seconds []testnet.Second
	}{
		{"LISTEN", "listen", nil, tcp},
		{"BOUND", "bind", nil, tcp},
		{"UDP", "udp", nil, udp},
		{"ESTABLISHED", "", testnet.HoldConnection(testnet.Established), tcp},
		{"FIN_WAIT1", "", testnet.HoldConnection(testnet.FinWait1), tcp},
		{"FIN_WAIT2", "", testnet.HoldConnection(testnet.FinWait2), tcp},
		{"TIME_WAIT", "", testnet.HoldConnection(testnet.TimeWait), tcp},
		{"CLOSE_WAIT", "", testnet.HoldConnection(testnet.CloseWait), tcp},
		{"LAST_ACK", "", testnet.HoldConnection(testnet.LastAck), tcp},
		{"CLOSING", "", testnet.HoldConnection(testnet.Closing), tcp},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			holder := testnet.Start(t, os.Getuid(), "holder")
			refused, right := 0, 0
			port := uint16(10000)
			for _, at := range firstPlaces {
				for _, options := range allOptions {
					port++
					if test.kind == "" {
						test.hold(t, at, port, options)
					} else {
						holdMore(t, holder, test.kind, netip.AddrPortFrom(at.Addr, port).String(), at.V6Only(), options)
					}
					for _, uid := range []int{0, 65534} {
						for _, p := range secondPlaces {
							for _, second := range test.seconds {
								var err, got error
								testnet.As(t, uid, func() {
									if err = second.At(p, port); err != nil {
										got = inuse.ExplainContext(t.Context(), err)
									}
								})
								if err == nil {
									continue
								}
								refused++
								e, ok := got.(*inuse.Error)
								want := causeOf(test.name, at, p, uid == 0)
								switch {
								case ok && e.Cause == want:
									right++
								default:
									t.Errorf("first at %v with %v, %s at %v as uid %d: want cause %q: %v",
										at, options, second.Name, p, uid, want, got)
								}
							}
						}
					}
				}
			}
			t.Logf("%d refusals, %d explained as they are", refused, right)
			if refused < least {
				t.Errorf("%d refusals are too few", refused)
			}
		})
	}
}

// causeOf returns why a socket in the given state, which root has opened at a
// testnet.Place, refuses one at p.
func causeOf(state string, at, p testnet.Place, sameUser bool) inuse.Cause {
	switch state {
	case "LISTEN", "UDP":
		switch dual := at.Addr.IsUnspecified() && at.Network == ""; {
		case !sameUser:
			return inuse.CauseHidden
		case dual && p.Network == "4":
			return inuse.CauseDualStack
		case p.Addr.IsUnspecified() && !at.Addr.Unmap().IsUnspecified():
			return inuse.CauseOneAddress
		}
		return inuse.CauseListener
	case "BOUND":
		return inuse.CauseBound
	case "ESTABLISHED", "CLOSE_WAIT":
		return inuse.CauseConnection
	}
	return inuse.CauseLeftover
}
