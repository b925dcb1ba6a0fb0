package group

import (
	"net"
	"testing"

	"example.com/reuse/internal/testnet"
)

// A hidden listener keeps its mark and its place until it is closed: the others
// must not take the group for smaller than it is. A packet that is not steered to
// it does not find it.
func TestHide(t *testing.T) {
	testnet.Namespace(t)
	diag := diagConn(t)
	a, b := open(t, "tcp6", "[::1]:9999"), open(t, "tcp6", "[::1]:9999")
	if claimed, err := a.TryClaim(t.Context(), diag); !claimed || err != nil {
		t.Fatal(claimed, err)
	}
	if err := Attach(a, Only(1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Hide(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		conn, err := net.Dial("tcp", "[::1]:9999")
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := b.Listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		accepted.Close()
		conn.Close()
	}
	if claimed, err := b.TryClaim(t.Context(), diag); claimed || err != nil {
		t.Errorf("hidden: another claims: %v, %v", claimed, err)
	}
	if members, err := b.Members(t.Context(), diag); err != nil || len(members.All) != 2 {
		t.Errorf("hidden: %d members, %v", len(members.All), err)
	}
	a.close()
	if claimed, err := b.TryClaim(t.Context(), diag); !claimed || err != nil {
		t.Errorf("closed: another claims: %v, %v", claimed, err)
	}
	if members, err := b.Members(t.Context(), diag); err != nil || len(members.All) != 1 {
		t.Errorf("closed: %d members, %v", len(members.All), err)
	}
}

// A hidden UDP socket has left its group, whose other members have moved up; it
// still has what it got before, and answers no more.
func TestHideUDP(t *testing.T) {
	for _, test := range []struct{ network, address string }{
		{"udp4", "127.0.0.1:9999"}, {"udp4", "0.0.0.0:9999"}, {"udp6", "[::1]:9999"}, {"udp", "[::]:9999"},
	} {
		testnet.Namespace(t)
		diag := diagConn(t)
		members := []*member{open(t, test.network, test.address), open(t, test.network, test.address), open(t, test.network, test.address)}
		first := members[0]
		if err := receives(first, members, Only(0), true); err != nil {
			t.Fatal("control:", err)
		}
		client, err := net.Dial("udp", first.PacketConn.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := Attach(first, Only(0)); err != nil {
			t.Fatal(err)
		}
		client.Write([]byte("x"))
		if err := first.Hide(); err != nil {
			t.Fatal(err)
		}
		for slot, m := range []*member{members[2], members[1]} { // the last has moved into the hole
			if err := receives(m, members[1:], Only(slot), true); err != nil {
				t.Errorf("%v: slot %d: %v", test, slot, err)
			}
		}
		if m, err := members[1].Members(t.Context(), diag); err != nil || len(m.All) != 2 {
			t.Errorf("%v: %d members, %v", test, len(m.All), err)
		}
		_, from, err := first.ReadFrom(make([]byte, 9))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := first.WriteTo([]byte("x"), from); err == nil {
			t.Errorf("%v: a hidden socket answers", test)
		}
		for _, m := range members {
			m.close()
		}
	}
}
