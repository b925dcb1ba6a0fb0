package inuse_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// A piece is one of several sockets at a port.
type piece struct {
	kind    string
	at      testnet.Place
	options testnet.Options
	uid     int
}

func (p piece) String() string { return fmt.Sprintf("%s %v %v uid %d", p.kind, p.at, p.options, p.uid) }

// state returns what the kernel calls p's state.
func (p piece) state() string {
	return map[string]string{"listen": "LISTEN", "bind": "BOUND", "udp": "UNCONN", "established": "ESTABLISHED", "time-wait": "TIME_WAIT"}[p.kind]
}

// is reports whether h may be p. A connection's address is a specific one.
func (p piece) is(h inuse.Holder) bool {
	if h.State != p.state() {
		return false
	}
	addr := p.at.Addr.Unmap()
	if addr.IsUnspecified() && (p.kind == "established" || p.kind == "time-wait") {
		return h.Local.Addr().IsLoopback() && h.Local.Addr().Is4() == (addr.Is4())
	}
	return h.Local.Addr() == addr && (!addr.IsUnspecified() || h.V6Only == p.at.V6Only() || addr.Is4())
}

// of reports whether p may be a connection of h, a listener. It goes with it.
func (p piece) of(h inuse.Holder) bool {
	at := testnet.Place{Addr: h.Local.Addr(), Network: "4"}
	if h.Network == "tcp6" && h.Local.Addr().Is6() {
		at.Network = map[bool]string{true: "6", false: ""}[h.V6Only]
	}
	return h.State == "LISTEN" && (p.kind == "established" && p.uid == h.UID || p.kind == "time-wait") && p.at.Overlaps(at)
}

// A builder makes pieces at ports, in processes of two users.
type builder struct {
	port    uint16
	holders map[int]*testnet.Process
}

// build makes those of pieces that can be had together at a new port.
func (b *builder) build(t *testing.T, pieces []piece) (made []piece) {
	t.Helper()
	b.port++
	for _, h := range b.holders {
		fmt.Fprintln(h.In, "close")
		h.Line(t)
	}
	// Connections first: listeners would take them.
	connection := func(p piece) int {
		return map[bool]int{true: 0, false: 1}[p.kind == "established" || p.kind == "time-wait"]
	}
	pieces = slices.SortedStableFunc(slices.Values(pieces), func(a, b piece) int { return connection(a) - connection(b) })
	for _, p := range pieces {
		ok := true
		switch p.kind {
		case "established", "time-wait":
			state := map[string]testnet.State{"established": testnet.Established, "time-wait": testnet.TimeWait}[p.kind]
			testnet.As(t, p.uid, func() { ok = leave(t, p, b.port, state) })
		default:
			h := b.holders[p.uid]
			fmt.Fprintln(h.In, "try-"+p.kind, netip.AddrPortFrom(p.at.Addr, b.port), p.at.V6Only(), int(p.options))
			ok = h.Line(t) == "ok"
		}
		if ok {
			made = append(made, p)
		}
	}
	return made
}

// leave leaves a connection in the state, and reports whether it could.
func leave(t *testing.T, p piece, port uint16, state testnet.State) bool {
	fd, err := testnet.Bind(unix.SOCK_STREAM, netip.AddrPortFrom(p.at.Addr, port), p.at.V6Only(), p.options)
	if err != nil {
		return false
	}
	unix.Close(fd)
	testnet.HoldConnection(state)(t, p.at, port, p.options)
	return true
}

// More take minutes, and have to be asked for.
var refusals = flag.Int("refusals", testnet.Rounds(400, 100), "how many refusals TestExplainSeveral explains")

// TestExplainSeveral holds random ports by one to three sockets, and explains the
// refusal of a random call. The same call must pass where everything that the
// explanation names is gone, and must not where everything else is: both are built
// anew. What is said to help must help. A call without SO_REUSEADDR may be refused once
// more, by connections that those with it pass.
func TestExplainSeveral(t *testing.T) {
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	if !listsBound(t) {
		t.Skip("this kernel does not list sockets that are bound only")
	}
	b := &builder{port: 1999, holders: map[int]*testnet.Process{}}
	for _, uid := range []int{0, 65534} {
		b.holders[uid] = testnet.Start(t, uid, "holder")
	}
	noOption := func(network, address string) (net.Listener, error) {
		config := net.ListenConfig{Control: testnet.NoOption.Control}
		return config.Listen(t.Context(), network, address)
	}
	tcp := []testnet.Second{
		{Name: "Addr.Listen", At: testnet.Listening(reuse.Addr.Listen)},
		{Name: "Port.Listen", At: testnet.Listening(reuse.Port.Listen)},
		{Name: "no option", At: testnet.Listening(noOption)},
	}
	udp := []testnet.Second{
		{Name: "Port.ListenPacket", At: testnet.ListeningPacket(reuse.Port.ListenPacket)},
		{Name: "net.ListenPacket", At: testnet.ListeningPacket(net.ListenPacket)},
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(n int) int { return random.IntN(n) }
	refused, least := 0, *refusals
	for round := 0; refused < least; round++ {
		if round > 10*least {
			t.Fatalf("%d refusals are too few", refused)
		}
		if b.port > 30000 {
			b.port = 1999
		}
		kinds, seconds := []string{"listen", "bind", "listen", "established", "time-wait"}, tcp
		if pick(4) == 0 {
			kinds, seconds = []string{"udp"}, udp
		}
		var pieces []piece
		for range 1 + pick(3) {
			pieces = append(pieces, piece{
				kind: kinds[pick(len(kinds))], at: testnet.FirstPlaces[pick(len(testnet.FirstPlaces))],
				options: []testnet.Options{testnet.NoOption, testnet.ReuseAddr, testnet.ReusePort, testnet.ReuseAddr | testnet.ReusePort}[pick(4)],
				uid:     []int{0, 65534}[pick(2)],
			})
		}
		second, place, uid := seconds[pick(len(seconds))], testnet.SecondPlaces[pick(len(testnet.SecondPlaces))], []int{0, 65534}[pick(2)]
		call := func(s testnet.Second) (err error) {
			testnet.As(t, uid, func() { err = s.At(place, b.port) })
			return err
		}
		made := b.build(t, pieces)
		err := call(second)
		if err == nil {
			continue
		}
		refused++
		var e *inuse.Error
		testnet.As(t, uid, func() { e, _ = errors.AsType[*inuse.Error](inuse.ExplainContext(t.Context(), err)) })
		fail := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%s at %v as uid %d over %v: %s: %v", second.Name, place, uid, made, fmt.Sprintf(format, args...), e)
		}
		if e == nil || len(e.Holders) == 0 {
			fail("nobody is named (%v)", err)
			continue
		}
		for _, r := range e.Remedies {
			helps := map[string]string{"set-reuseaddr": "Addr", "share-one": "Port"}[r.Kind]
			for _, s := range seconds {
				if helps != "" && strings.HasPrefix(s.Name, helps) && call(s) != nil {
					fail("%s does not help: %v", r.Kind, call(s))
				}
			}
		}
		var named, others []piece
		for _, p := range made {
			if slices.ContainsFunc(e.Holders, func(h inuse.Holder) bool { return p.is(h) || p.of(h) }) {
				named = append(named, p)
			} else {
				others = append(others, p)
			}
		}
		b.build(t, others)
		if err := call(second); err != nil && (second.Name != "no option" || call(tcp[0]) != nil) {
			fail("refused when those named are gone: %v", err)
		}
		b.build(t, named)
		if err := call(second); err == nil {
			fail("not refused by those named: %v", named)
		}
		if t.Failed() && round > 300 {
			break
		}
	}
	t.Logf("%d refusals", refused)
}

// listsBound reports whether the kernel lists sockets that are bound only, as
// Linux 6.12 does, and 6.1 does not.
func listsBound(t testing.TB) bool {
	t.Helper()
	const port = 9
	fd, err := testnet.Bind(unix.SOCK_STREAM, netip.MustParseAddrPort("127.0.0.1:9"), false, testnet.NoOption)
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
