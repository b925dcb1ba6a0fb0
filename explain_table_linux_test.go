package reuse_test

import (
	"net/netip"
	"os"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// TestExplainTable explains every refusal among thousands of combinations of a
// first socket's state, options and address with a second call, its address and
// its user, and compares the cause with what the test knows it has made.
func TestExplainTable(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	tcp, udp := tcpSeconds(t), udpSeconds()
	for _, test := range []struct {
		name    string
		kind    string // of a process that holds it; "" if this one does
		hold    func(testing.TB, place, uint16, reuseOptions) (held place)
		seconds []second
	}{
		{"LISTEN", "listen", nil, tcp},
		{"BOUND", "bind", nil, tcp},
		{"UDP", "udp", nil, udp},
		{"ESTABLISHED", "", holdConnection(testnet.Established), tcp},
		{"FIN_WAIT1", "", holdConnection(testnet.FinWait1), tcp},
		{"FIN_WAIT2", "", holdConnection(testnet.FinWait2), tcp},
		{"TIME_WAIT", "", holdConnection(testnet.TimeWait), tcp},
		{"CLOSE_WAIT", "", holdConnection(testnet.CloseWait), tcp},
		{"LAST_ACK", "", holdConnection(testnet.LastAck), tcp},
		{"CLOSING", "", holdConnection(testnet.Closing), tcp},
	} {
		if testing.Short() && test.name != "LISTEN" && test.name != "UDP" && test.name != "TIME_WAIT" {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			listed := test.name != "BOUND" || listsBound(t)
			holder := testnet.Start(t, os.Getuid(), "holder")
			refused, right, changed := 0, 0, 0
			port := uint16(10000)
			for _, at := range firstPlaces {
				for _, options := range []reuseOptions{noOption, addrOption, portOption, addrOption | portOption} {
					port++
					if test.kind == "" {
						test.hold(t, at, port, options)
					} else {
						holdMore(t, holder, test.kind, netip.AddrPortFrom(at.addr, port).String(), at.v6only(), options)
					}
					for _, uid := range []int{0, 65534} {
						for _, p := range secondPlaces {
							for _, second := range test.seconds {
								var err, got error
								testnet.As(t, uid, func() {
									if err = second.at(p, port); err != nil {
										got = reuse.ExplainContext(t.Context(), err)
									}
								})
								if err == nil {
									continue
								}
								refused++
								e, ok := got.(*reuse.InUseError)
								want := causeOf(test.name, at, options, p, uid == 0)
								if test.name == "FIN_WAIT2" && options == portOption {
									// The kernel keeps some with their user, and
									// some like those in TIME_WAIT, without.
									want = reuse.CauseStubborn
									testnet.As(t, uid, func() {
										if listenTCP(reuse.Port.Listen)(p, port) == nil {
											want = reuse.CauseLeftover
										}
									})
								}
								if !listed && want == reuse.CauseLeftover {
									want = reuse.CauseFree // with SO_REUSEADDR
								}
								switch {
								case ok && e.Changed:
									changed++
								case ok && e.Cause == want:
									right++
								default:
									t.Errorf("first at %v with %v, %s at %v as uid %d: want cause %q: %v",
										at, options, second.name, p, uid, want, got)
								}
							}
						}
					}
				}
			}
			t.Logf("%d refusals, %d explained as they are, %d changed meanwhile", refused, right, changed)
			if refused < 50 {
				t.Errorf("%d refusals are too few", refused)
			}
		})
	}
}

// listsBound reports whether the kernel lists sockets that are bound only, as
// Linux 6.12 does, and 6.1 does not.
func listsBound(t testing.TB) bool {
	t.Helper()
	const port = 9
	fd, err := bind(unix.SOCK_STREAM, netip.AddrPortFrom(lo1, port), false, noOption)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	conn, err := sockdiag.Open()
	if err != nil {
		return false
	}
	defer conn.Close()
	bound, err := conn.Sockets(t.Context(), sockdiag.Request{
		Protocol: unix.IPPROTO_TCP, States: sockdiag.Set(sockdiag.Bound), LocalPort: port,
	})
	return err == nil && len(bound) == 1
}

// causeOf returns why a socket in the given state, which root has opened at a
// place with options, refuses one at p.
func causeOf(state string, at place, options reuseOptions, p place, sameUser bool) reuse.Cause {
	switch state {
	case "LISTEN", "UDP":
		switch {
		case options&portOption != 0 && sameUser:
			return reuse.CauseSharing
		case !sameUser:
			return reuse.CauseHidden
		case family(at) != family(p):
			return reuse.CauseDualStack
		}
		return reuse.CauseListener
	case "BOUND":
		switch {
		case options&addrOption != 0:
			return reuse.CauseLeftover
		case options&portOption != 0 && sameUser:
			return reuse.CauseSharing
		}
		return reuse.CauseBound
	}
	if options&addrOption != 0 || options&portOption != 0 && (sameUser || state == "TIME_WAIT") {
		return reuse.CauseLeftover
	}
	return reuse.CauseStubborn
}

func family(p place) int {
	if p.network == "4" {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
