package sockdiag

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func open1(t testing.TB) *Conn {
	t.Helper()
	c, err := Open()
	if err != nil {
		t.Skipf("needs sock_diag: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSockets(t *testing.T) {
	situation(t)
	c := open1(t)
	get := func(r Request) []Socket {
		t.Helper()
		sockets, err := c.Sockets(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return sockets
	}
	unbound := AnyState &^ Set(Bound)
	check(t, get(Request{Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET, States: unbound}), wantTCP4)
	check(t, get(Request{Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET6, States: unbound}), wantTCP6)
	check(t, get(Request{Protocol: unix.IPPROTO_TCP, States: unbound}), slices.Concat(wantTCP4, wantTCP6))
	check(t, get(Request{Protocol: unix.IPPROTO_UDP}), slices.Concat(wantUDP4, wantUDP6))
	check(t, get(Request{Protocol: unix.IPPROTO_TCP, States: Set(TimeWait)}), wantTCP6[4:])
	check(t, get(Request{Protocol: unix.IPPROTO_TCP, States: unbound, LocalPort: 5001}), wantTCP4[:2])
	check(t, get(Request{Protocol: unix.IPPROTO_TCP, States: unbound, RemotePort: 5001}), wantTCP4[2:3])
	check(t, get(Request{Protocol: unix.IPPROTO_TCP, LocalPort: 9}), nil)
	if bound := get(Request{Protocol: unix.IPPROTO_TCP, States: Set(Bound)}); len(bound) > 0 { // not on 6.1
		check(t, bound, wantBound)
	}
	unixSockets, err := c.UnixSockets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkUnix(t, unixSockets)

	// Another user sees the same.
	if os.Getuid() == 0 {
		testnet.As(t, 65534, func() {
			c := open1(t)
			sockets, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_TCP, States: unbound})
			if err != nil {
				t.Fatal(err)
			}
			check(t, sockets, slices.Concat(wantTCP4, wantTCP6))
		})
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
	for _, limit := range []int{1, 10, 0, 5, many, 0} {
		sockets, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_UDP, Limit: limit})
		want := limit
		if limit == 0 {
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
}

func TestLookup(t *testing.T) {
	situation(t)
	c := open1(t)
	all, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_TCP, States: AnyState &^ Set(Bound)})
	if err != nil {
		t.Fatal(err)
	}
	udp, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_UDP})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(all, udp...) {
		got, err := c.Lookup(t.Context(), s)
		got.Expires = s.Expires
		if err != nil || got != s {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, s)
		}
		other := s
		other.Cookie++
		if _, err := c.Lookup(t.Context(), other); !errors.Is(err, unix.ENOENT) {
			t.Errorf("with another cookie: %v, want ENOENT", err)
		}
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:5009")
	if err != nil {
		t.Fatal(err)
	}
	listening, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_TCP, LocalPort: 5009, States: Set(Listen)})
	if err != nil || len(listening) != 1 {
		t.Fatal(listening, err)
	}
	if _, err := c.Lookup(t.Context(), listening[0]); err != nil {
		t.Error(err)
	}
	ln.Close()
	if _, err := c.Lookup(t.Context(), listening[0]); !errors.Is(err, unix.ENOENT) {
		t.Errorf("closed: %v, want ENOENT", err)
	}
}

// Procfs shows the same, less what it lacks.
func TestReadProc(t *testing.T) {
	situation(t)
	for _, r := range []Request{
		{Protocol: unix.IPPROTO_TCP}, {Protocol: unix.IPPROTO_UDP},
		{Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET6}, {Protocol: unix.IPPROTO_TCP, LocalPort: 5002},
		{Protocol: unix.IPPROTO_TCP, RemotePort: 6004}, {Protocol: unix.IPPROTO_TCP, States: Set(Listen)},
	} {
		got, err := ReadProc(r)
		if err != nil {
			t.Fatal(err)
		}
		if r == (Request{Protocol: unix.IPPROTO_TCP}) {
			check(t, got, slices.Concat(wantTCP4, wantTCP6))
		}
		if r.States == 0 {
			r.States = AnyState &^ Set(Bound)
		}
		want, err := open1(t).Sockets(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, byAddress)
		slices.SortFunc(want, byAddress)
		if len(got) != len(want) || len(got) == 0 {
			t.Fatalf("%+v: %d sockets, want %d", r, len(got), len(want))
		}
		for i := range want {
			w := want[i]
			w.Cookie, w.Cgroup, w.V6Only, w.V6OnlyKnown, w.Interface = 0, 0, false, false, 0
			if near := got[i].Expires - w.Expires; near.Abs().Seconds() < 5 {
				w.Expires = got[i].Expires
			}
			if got[i] != w {
				t.Errorf("got  %+v\nwant %+v", got[i], w)
			}
		}
	}
	unixSockets, err := ReadProcUnix()
	if err != nil {
		t.Fatal(err)
	}
	checkUnix(t, unixSockets)
}

// A kernel that falls silent, other processes' messages, and what does not fit.
func TestReceive(t *testing.T) {
	c := open1(t)
	own, err := unix.Getsockname(c.fd)
	if err != nil {
		t.Fatal(err)
	}
	if own.(*unix.SockaddrNetlink).Pid == 0 { // not bound before the first request
		if _, err := c.UnixSockets(t.Context()); err != nil && !Missing(err) {
			t.Fatal(err)
		}
		if own, err = unix.Getsockname(c.fd); err != nil {
			t.Fatal(err)
		}
	}
	stranger := open1(t)
	forged := []byte("not from the kernel")
	sent := unix.Sendto(stranger.fd, forged, 0, own) == nil // for root only
	if _, err := c.receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silence, after a forged message %v: %v", sent, err)
	}

	short := open1(t)
	short.buf = make([]byte, sizeHeader)
	if _, err := short.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_UDP, Family: unix.AF_INET}); !errors.Is(err, errMalformed) {
		t.Errorf("an answer that does not fit: %v", err)
	}
}

func TestMissing(t *testing.T) {
	c := open1(t)
	// There is no such protocol, as if its module were not loaded.
	_, err := c.Sockets(t.Context(), Request{Protocol: 250})
	if !Missing(err) {
		t.Errorf("%v", err)
	}
	if Missing(nil) || Missing(unix.ENOBUFS) || Missing(os.ErrDeadlineExceeded) {
		t.Error("missing without a reason")
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
