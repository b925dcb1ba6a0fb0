package sockdiag

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func open1(t testing.TB) *Conn {
	t.Helper()
	c, err := Open()
	if err != nil {
		if !Missing(err) {
			t.Fatal(err)
		}
		t.Skipf("needs sock_diag: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// requests select in every way.
func requests() []Request {
	list := []Request{
		{Protocol: unix.IPPROTO_TCP}, {Protocol: unix.IPPROTO_UDP},
		{Protocol: unix.IPPROTO_UDP, Family: unix.AF_INET}, {Protocol: unix.IPPROTO_UDP, Family: unix.AF_INET6},
		{Protocol: unix.IPPROTO_UDP, LocalPort: 5005}, {Protocol: unix.IPPROTO_UDP, RemotePort: 5001},
		{Protocol: unix.IPPROTO_UDP, States: Set(Close)}, {Protocol: unix.IPPROTO_UDP, States: Set(Established)},
		{Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET}, {Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET6},
		{Protocol: unix.IPPROTO_TCP, States: Set(Listen, TimeWait)},
	}
	for port := uint16(5000); port <= 5012; port++ {
		list = append(list, Request{Protocol: unix.IPPROTO_TCP, LocalPort: port}, Request{Protocol: unix.IPPROTO_TCP, RemotePort: port + 1000})
	}
	for state := Established; state <= Closing; state++ {
		list = append(list, Request{Protocol: unix.IPPROTO_TCP, States: Set(state)})
	}
	for i, r := range list {
		if r.Protocol == unix.IPPROTO_TCP && r.States == 0 {
			list[i].States = unbound
		}
	}
	return list
}

func TestSockets(t *testing.T) {
	w := situation(t)
	ask := func() {
		t.Helper()
		c := open1(t)
		for _, r := range requests() {
			sockets, err := c.Sockets(t.Context(), r)
			if err != nil {
				t.Fatalf("%+v: %v", r, err)
			}
			check(t, sockets, w.select1(r))
		}
		bound, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_TCP, States: Set(Bound)})
		if err != nil {
			t.Fatal(err)
		}
		if w.listsBound() {
			check(t, bound, w.select1(Request{Protocol: unix.IPPROTO_TCP, States: Set(Bound)}))
		} else if len(bound) != 0 {
			t.Errorf("bound: %+v", bound)
		}
		unixSockets, err := c.UnixSockets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkUnix(t, unixSockets, unixNetlink(w.Unix, unixSockets))
	}
	ask()
	testnet.As(t, otherUser, ask) // who sees the same

	// Another namespace does not have them.
	testnet.Namespace(t)
	sockets, err := open1(t).Sockets(t.Context(), Request{Protocol: unix.IPPROTO_TCP})
	if err != nil || len(sockets) != 0 {
		t.Errorf("elsewhere: %+v, %v", sockets, err)
	}
}

// An answer that is given up does not spoil the next one.
func TestLimit(t *testing.T) {
	testnet.Namespace(t)
	const many = 1000 // more than one datagram holds
	for range many {
		pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
	}
	c := open1(t)
	before := testnet.Descriptors(t)
	for _, limit := range []int{1, 10, 0, 5, many, many + 1, 0} {
		sockets, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_UDP, Limit: limit})
		want := limit
		if limit == 0 || limit > many {
			want = many
		}
		if err != nil || len(sockets) != want {
			t.Errorf("limit %d: %d sockets, %v", limit, len(sockets), err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Sockets(ended, Request{Protocol: unix.IPPROTO_UDP}); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if sockets, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_UDP}); err != nil || len(sockets) != many {
		t.Errorf("after that: %d sockets, %v", len(sockets), err)
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestLookup(t *testing.T) {
	w := situation(t)
	c := open1(t)
	before := testnet.Descriptors(t)
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		r := Request{Protocol: protocol, States: unbound}
		sockets, err := c.Sockets(t.Context(), r)
		if err != nil || len(sockets) != len(w.select1(r)) {
			t.Fatal(sockets, err)
		}
		for _, s := range sockets {
			got, err := c.Lookup(t.Context(), s)
			if err != nil {
				t.Errorf("%+v: %v", s, err)
				continue
			}
			check(t, []Socket{got}, []Socket{s})
			other := s
			other.Cookie++
			if _, err := c.Lookup(t.Context(), other); !errors.Is(err, unix.ENOENT) {
				t.Errorf("with another cookie: %v, want ENOENT", err)
			}
			other = s
			other.Remote = Socket{Local: s.Local}.Local
			if _, err := c.Lookup(t.Context(), other); !errors.Is(err, unix.ENOENT) && s.Remote.Port() != 0 {
				t.Errorf("with another remote: %v, want ENOENT", err)
			}
		}
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// A socket that took the place of another one is not that one.
func TestLookupReused(t *testing.T) {
	testnet.Namespace(t)
	c := open1(t)
	for _, r := range []Request{
		{Protocol: unix.IPPROTO_TCP, States: Set(Listen)}, {Protocol: unix.IPPROTO_UDP},
	} {
		open := func() interface{ Close() error } {
			if r.Protocol == unix.IPPROTO_UDP {
				pc, err := net.ListenPacket("udp4", "127.0.0.1:5009")
				if err != nil {
					t.Fatal(err)
				}
				return pc
			}
			ln, err := net.Listen("tcp4", "127.0.0.1:5009")
			if err != nil {
				t.Fatal(err)
			}
			return ln
		}
		first := open()
		sockets, err := c.Sockets(t.Context(), r)
		if err != nil || len(sockets) != 1 {
			t.Fatal(sockets, err)
		}
		if _, err := c.Lookup(t.Context(), sockets[0]); err != nil {
			t.Error(err)
		}
		first.Close()
		if _, err := c.Lookup(t.Context(), sockets[0]); !errors.Is(err, unix.ENOENT) {
			t.Errorf("closed: %v, want ENOENT", err)
		}
		second := open()
		if _, err := c.Lookup(t.Context(), sockets[0]); !errors.Is(err, unix.ENOENT) {
			t.Errorf("another in its place: %v, want ENOENT", err)
		}
		second.Close()
	}
}

// Procfs shows the same, less what it lacks.
func TestReadProc(t *testing.T) {
	testnet.NeedSocketTypes(t)
	w := situation(t)
	before := testnet.Descriptors(t)
	for _, r := range requests() {
		got, err := ReadProc(r)
		if err != nil {
			t.Fatal(err)
		}
		checkProc(t, got, w.select1(r))
	}
	got, err := ReadProc(Request{Protocol: unix.IPPROTO_TCP, States: Set(Bound)})
	if err != nil || len(got) != 0 {
		t.Errorf("bound: %+v, %v", got, err)
	}
	unixSockets, err := ReadProcUnix()
	if err != nil {
		t.Fatal(err)
	}
	checkUnix(t, unixSockets, unixProc(w.Unix))
	order, err := procOrder()
	if err != nil || order.Uint16([]byte{0, 1}) != orderOf(w.BigEndian).Uint16([]byte{0, 1}) {
		t.Errorf("%v, %v", order, err)
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// ReadProc and Sockets agree on who owns sockets that no process has.
func TestReadProcOwner(t *testing.T) {
	situation(t)
	c := open1(t)
	r := Request{Protocol: unix.IPPROTO_TCP, States: unbound}
	listed, err := c.Sockets(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadProc(r)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(listed, byAddress)
	slices.SortFunc(read, byAddress)
	for i, s := range listed {
		// The owner of a handshake is the listener's in procfs only.
		if s.UID != read[i].UID && s.State != SynRecv {
			t.Errorf("%+v, procfs says user %d", s, read[i].UID)
		}
	}
}

func TestStates(t *testing.T) {
	for s := State(0); s < 255; s++ {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
		if in := AnyState.Has(s); in != (s <= Bound) {
			t.Errorf("AnyState has %v: %v", s, in)
		}
	}
}
