package group

import (
	"errors"
	"fmt"
	"net"
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
		{"tcp4", "127.0.0.1:9999", 0}, {"tcp6", "[::1]:9999", 0}, {"tcp", "[::]:9999", 0}, {"tcp6", "[::1]:9999", lo},
		{"udp4", "127.0.0.1:9999", 0}, {"udp4", "0.0.0.0:9999", 0}, {"udp4", "127.0.0.1:9999", lo},
		{"udp6", "[::1]:9999", 0}, {"udp6", "[::]:9999", 0}, {"udp", "[::]:9999", 0}, {"udp6", "[::1]:9999", lo},
	} {
		testnet.Namespace(t)
		var prepare []func(fd int) error
		if test.device != 0 {
			prepare = append(prepare, onDevice(test.device))
		}
		m := open(t, test.network, test.address, prepare...)
		if err := finds(m); err != nil {
			t.Errorf("%v: control: %v", test, err)
		} else if m.PacketConn != nil {
			m.ReadFrom(make([]byte, 9))
		}
		switch err := hide(m); {
		case test.device != 0 && errors.Is(err, unix.EPERM) && os.Getuid() != 0:
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
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			a, b := open(t, test.network, test.address), open(t, test.network, test.address)
			claims := func(s *member, want bool) {
				t.Helper()
				if claimed, err := s.TryClaim(t.Context(), diag); claimed != want || err != nil {
					t.Errorf("claimed: %v, %v, want %v", claimed, err, want)
				}
			}
			claims(a, true)
			if err := a.Hide(); errors.Is(err, errors.ErrUnsupported) && a.PacketConn != nil {
				t.Skip("the kernel lets go of the device again: ", err)
			} else if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				chosen(t, b, []*member{a, b}, Among([]int{1}))
			}
			claims(b, false)
			if members := b.members(t, diag); len(members.All) != 2 {
				t.Errorf("hidden: %d members", len(members.All))
			}
			a.close()
			claims(b, true)
			if members := b.members(t, diag); len(members.All) != 1 {
				t.Errorf("closed: %d members", len(members.All))
			}
		})
	}
}

// A socket leaves its group, and the last member moves into its slot.
func TestLeave(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6", "udp4", "udp6"} {
		for _, host := range map[byte][]string{'4': {"127.0.0.1", "0.0.0.0"}, '6': {"::1", "::"}}[network[3]] {
			testnet.Namespace(t)
			diag := diagConn(t)
			members := group(t, 3, network, net.JoinHostPort(host, "9999"))
			first := members[0]
			chosen(t, first, members, Among([]int{0}))
			if err := first.Leave(); err != nil {
				t.Fatal(err)
			}
			for slot, m := range []*member{members[2], members[1]} {
				chosen(t, m, members[1:], Among([]int{slot}))
			}
			if n := len(members[1].members(t, diag).All); n != 2 {
				t.Errorf("%v: %d members", first.Key, n)
			}
			closeAll(members)
		}
	}
}

// A TCP listener that another process may have, too, leaves its group. close does
// not do that.
func TestLeaveShared(t *testing.T) {
	for _, test := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:9999"}, {"tcp4", "0.0.0.0:9999"}, {"tcp6", "[::1]:9999"}, {"tcp", "[::]:9999"},
	} {
		testnet.Namespace(t)
		diag := diagConn(t)
		a, b := open(t, test.network, test.address), open(t, test.network, test.address)
		f, err := a.Listener.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		a.close()
		if n := len(b.members(t, diag).All); n != 2 {
			t.Errorf("%v: the control: %d members after close", test, n)
		}
		if total, own := connect(t, b); own == total {
			t.Errorf("%v: the control: one of two members has all %d connections", test, total)
		}
		c, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Leave(); err != nil {
			t.Fatal(err)
		}
		if n := len(b.members(t, diag).All); n != 1 {
			t.Errorf("%v: %d members", test, n)
		}
		if total, own := connect(t, b); own != total {
			t.Errorf("%v: the other member has %d of %d connections", test, own, total)
		}
		if dump, err := Look(t.Context(), diag, s); err != nil {
			t.Error(err)
		} else if _, err := dump.Members(s); !errors.Is(err, ErrNotListening) {
			t.Errorf("%v: %v, want ErrNotListening", test, err)
		}
		f.Close()
		b.close()
	}
}

// connect makes connections to the address of m, and returns how many of them came
// to m.
func connect(t *testing.T, m *member) (total, own int) {
	t.Helper()
	const connections = 64
	for range connections {
		conn, err := m.dial()
		if err != nil {
			t.Fatal(err)
		}
		n, err := m.take()
		if err != nil {
			t.Fatal(err)
		}
		own += n
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	return connections, own
}

// A UDP socket that has left, or is hidden, still has what it got before, and
// answers no more.
func TestHideUDP(t *testing.T) {
	for _, test := range []struct{ network, address string }{
		{"udp4", "127.0.0.1:9999"}, {"udp4", "0.0.0.0:9999"}, {"udp6", "[::1]:9999"}, {"udp", "[::]:9999"},
	} {
		for name, end := range map[string]func(*member) error{"hide": hide, "leave": func(m *member) error { return m.Leave() }} {
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
			if err := end(m); err != nil {
				t.Fatal(fmt.Errorf("%v, %s: %w", test, name, err))
			}
			if answer() == nil {
				t.Errorf("%v, %s: it answers", test, name)
			}
			m.close()
		}
	}
}
