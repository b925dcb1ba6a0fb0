package group

import (
	"errors"
	"os"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A packet does not find a hidden socket by itself.
func TestHide(t *testing.T) {
	for _, test := range []struct {
		network, address string
		device           int
	}{
		{"tcp4", "127.0.0.1:9999", 0}, {"tcp6", "[::1]:9999", 0}, {"tcp", "[::]:9999", 0}, {"tcp6", "[::1]:9999", 1},
		{"udp4", "127.0.0.1:9999", 0}, {"udp4", "0.0.0.0:9999", 0}, {"udp4", "127.0.0.1:9999", 1},
		{"udp6", "[::1]:9999", 0}, {"udp6", "[::]:9999", 0}, {"udp", "[::]:9999", 0}, {"udp6", "[::1]:9999", 1},
	} {
		testnet.Namespace(t)
		m := open(t, test.network, test.address)
		var err error
		if test.device != 0 { // lo
			err = control(m, func(fd int) error {
				return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, test.device)
			})
			if err == nil {
				m.Socket, err = Open(m.RawConn)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := finds(m); err != nil {
			t.Errorf("%v: control: %v", test, err)
		} else if m.PacketConn != nil {
			m.ReadFrom(make([]byte, 9))
		}
		switch err := hide(m); {
		case test.device != 0 && errors.Is(err, unix.EPERM):
			t.Logf("%v: %v", test, err)
		case err != nil:
			t.Errorf("%v: %v", test, err)
		default:
			if err := finds(m); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%v: hidden: %v, want ECONNREFUSED", test, err)
			}
		}
		m.close()
	}
}

// hide hides the socket, or lets it leave if it cannot be hidden.
func hide(m *member) error {
	err := m.Hide()
	if errors.Is(err, errors.ErrUnsupported) && m.PacketConn != nil {
		return m.Leave()
	}
	return err
}

// finds returns an error unless a client finds the socket.
func finds(m *member) error {
	conn, err := m.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if m.Listener != nil {
		return nil
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	for deadline := time.Now().Add(testnet.Slow(time.Second)); time.Now().Before(deadline); {
		if readable, err := m.Readable(); err != nil || readable {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return errors.New("nothing arrives")
}

// A hidden socket keeps its mark and its place until it is closed: the others must
// not take the group for smaller than it is. What is steered does not go astray.
func TestHideMember(t *testing.T) {
	for _, test := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:9999"}, {"tcp6", "[::1]:9999"}, {"tcp", "[::]:9999"},
		{"udp6", "[::1]:9999"}, {"udp6", "[::]:9999"}, {"udp", "[::]:9999"},
	} {
		testnet.Namespace(t)
		diag := diagConn(t)
		a, b := open(t, test.network, test.address), open(t, test.network, test.address)
		if claimed, err := a.TryClaim(t.Context(), diag); !claimed || err != nil {
			t.Fatal(test, claimed, err)
		}
		if err := a.Hide(); errors.Is(err, errors.ErrUnsupported) && a.PacketConn != nil {
			t.Log(err) // of some kernels
			a.close()
			b.close()
			continue
		} else if err != nil {
			t.Fatal(test, err)
		}
		for range 50 {
			if err := receives(b, []*member{a, b}, Only(1), true); err != nil {
				t.Fatal(test, err)
			}
		}
		if claimed, err := b.TryClaim(t.Context(), diag); claimed || err != nil {
			t.Errorf("%v: hidden: another claims: %v, %v", test, claimed, err)
		}
		if members, err := b.Members(t.Context(), diag); err != nil || len(members.All) != 2 {
			t.Errorf("%v: hidden: %d members, %v", test, len(members.All), err)
		}
		a.close()
		if claimed, err := b.TryClaim(t.Context(), diag); !claimed || err != nil {
			t.Errorf("%v: closed: another claims: %v, %v", test, claimed, err)
		}
		if members, err := b.Members(t.Context(), diag); err != nil || len(members.All) != 1 {
			t.Errorf("%v: closed: %d members, %v", test, len(members.All), err)
		}
		b.close()
	}
}

// A UDP socket leaves its group, whose other members move up.
func TestLeave(t *testing.T) {
	for _, address := range []string{"127.0.0.1:9999", "0.0.0.0:9999", "[::1]:9999", "[::]:9999"} {
		testnet.Namespace(t)
		diag := diagConn(t)
		members := []*member{open(t, "udp", address), open(t, "udp", address), open(t, "udp", address)}
		first := members[0]
		if err := receives(first, members, Only(0), true); err != nil {
			t.Fatal("control:", err)
		}
		if err := first.Leave(); err != nil {
			t.Fatal(err)
		}
		for slot, m := range []*member{members[2], members[1]} { // the last has moved into the hole
			if err := receives(m, members[1:], Only(slot), true); err != nil {
				t.Errorf("%v: slot %d: %v", address, slot, err)
			}
		}
		if m, err := members[1].Members(t.Context(), diag); err != nil || len(m.All) != 2 {
			t.Errorf("%v: %d members, %v", address, len(m.All), err)
		}
		for _, m := range members {
			m.close()
		}
	}
}

// A hidden UDP socket still has what it got before, and answers no more.
func TestHideUDP(t *testing.T) {
	for _, test := range []struct{ network, address string }{
		{"udp4", "127.0.0.1:9999"}, {"udp4", "0.0.0.0:9999"}, {"udp6", "[::1]:9999"}, {"udp", "[::]:9999"},
	} {
		testnet.Namespace(t)
		m := open(t, test.network, test.address)
		for range 2 {
			if err := finds(m); err != nil {
				t.Fatal(err)
			}
		}
		answer := func() error {
			_, from, err := m.ReadFrom(make([]byte, 9))
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.WriteTo([]byte("x"), from)
			return err
		}
		if err := answer(); err != nil {
			t.Errorf("%v: control: %v", test, err)
		}
		if err := hide(m); err != nil {
			t.Fatal(err)
		}
		if answer() == nil {
			t.Errorf("%v: a hidden socket answers", test)
		}
		m.close()
	}
}
