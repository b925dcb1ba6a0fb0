package group

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A member is a listener, or a UDP socket, of a test's group.
type member struct {
	net.Listener
	net.PacketConn
	*Socket
}

func (m *member) close() {
	if m.Listener != nil {
		m.Listener.Close()
	} else {
		m.PacketConn.Close()
	}
}

func diagConn(t testing.TB) *sockdiag.Conn {
	t.Helper()
	diag, err := sockdiag.Open()
	if sockdiag.Missing(err) {
		t.Skipf("needs sock_diag: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { diag.Close() })
	return diag
}

func open(t testing.TB, network, address string) *member {
	t.Helper()
	m := &member{}
	var err error
	var conn syscall.Conn
	if network[0] == 't' {
		if m.Listener, err = reuse.Port.Listen(network, address); err == nil {
			conn = m.Listener.(syscall.Conn)
		}
	} else if m.PacketConn, err = reuse.Port.ListenPacket(network, address); err == nil {
		conn = m.PacketConn.(syscall.Conn)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	c, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if m.Socket, err = Open(c); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs what Open needs: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return m
}

// dial does without another goroutine, which could be in another namespace.
func (m *member) dial() (net.Conn, error) {
	if m.PacketConn != nil {
		return net.Dial("udp", m.PacketConn.LocalAddr().String())
	}
	addr := m.Listener.Addr().(*net.TCPAddr)
	if addr.IP.To4() == nil {
		return net.Dial("tcp6", addr.String())
	}
	return net.Dial("tcp4", addr.String())
}

// The slots that the probe finds are those of an array that follows joins and
// leaves, at each kind of address, and nobody sees a connection.
func TestLocate(t *testing.T) {
	steps := testnet.Rounds(40, 12)
	for _, test := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:9999"}, {"tcp4", "0.0.0.0:9999"}, {"tcp6", "[::1]:9999"},
		{"tcp6", "[::]:9999"}, {"tcp", "[::]:9999"}, {"tcp4", "127.0.0.7:9999"},
		{"udp6", "[::1]:9999"}, {"udp6", "[::]:9999"}, {"udp", "[::]:9999"},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			random := rand.New(rand.NewPCG(1, 2))
			var array []*member
			for step := range steps {
				if len(array) < 2 || len(array) < 6 && random.IntN(2) == 0 {
					array = append(array, open(t, test.network, test.address))
				} else {
					i := random.IntN(len(array))
					array[i].close()
					array[i] = array[len(array)-1]
					array = array[:len(array)-1]
				}
				for want, m := range array {
					members, err := m.Members(t.Context(), diag)
					if err != nil || len(members.All) != len(array) {
						t.Fatalf("%d members, %v, want %d", len(members.All), err, len(array))
					}
					// By itself, or with others in any order.
					wants := append([]int{want}, random.Perm(len(array))[:random.IntN(len(array))]...)
					if i := slices.Index(wants[1:], want); i >= 0 {
						wants = slices.Delete(wants, i+1, i+2)
					}
					got, err := locate(t, members, array, wants...)
					if err != nil || !slices.Equal(got, wants) {
						t.Fatalf("step %d: slots %d, %v, want %d of %d", step, got, err, wants, len(array))
					}
					if m.PacketConn != nil {
						nothingRead(t, array)
						continue
					}
					if length, backlog, err := m.Queue(); length != 0 || backlog == 0 || err != nil {
						t.Fatalf("queue %d of %d, %v", length, backlog, err)
					}
					if pending, err := m.Handshakes(t.Context(), diag, members.Self); len(pending) > 0 || err != nil {
						t.Fatalf("handshakes %v, %v", pending, err)
					}
				}
			}
		})
	}
}

// locate returns the slots of some of array.
func locate(t testing.TB, members Members, array []*member, indices ...int) ([]int, error) {
	var socks []*Socket
	for _, i := range indices {
		socks = append(socks, array[i].Socket)
	}
	return Locate(t.Context(), socks, members.Self, len(members.All))
}

// nothingRead fails if a probe arrived at a UDP socket, and leaves none as the
// probes found it.
func nothingRead(t testing.TB, members []*member) {
	t.Helper()
	for _, m := range members {
		if readable, err := m.Readable(); readable || err != nil {
			t.Fatalf("readable: %v, %v", readable, err)
		}
		err := control(m, func(fd int) error {
			rx, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, udpNoCheck6RX)
			n, err2 := filterLength(fd)
			if rx != 0 || n != 0 {
				t.Errorf("UDP_NO_CHECK6_RX %d, a filter of %d instructions", rx, n)
			}
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Where a more specific listener takes the probes, or nothing arrives, it says
// so, and does not guess.
func TestLocateFails(t *testing.T) {
	testnet.Namespace(t)
	diag := diagConn(t)
	m := open(t, "tcp4", "0.0.0.0:9999")
	open(t, "tcp4", "0.0.0.0:9999")
	open(t, "tcp4", "127.0.0.1:9999") // it has the only address there is
	members, err := m.Members(t.Context(), diag)
	if err != nil {
		t.Fatal(err)
	}
	if slots, err := Locate(t.Context(), []*Socket{m.Socket}, members.Self, 2); !errors.Is(err, ErrNoProbe) {
		t.Errorf("slots %d, %v, want ErrNoProbe", slots, err)
	}
	if slots, err := Locate(t.Context(), []*Socket{m.Socket}, members.Self, most+1); !errors.Is(err, ErrNoProbe) {
		t.Errorf("%d members: slots %d, %v, want ErrNoProbe", most+1, slots, err)
	}
	v4 := open(t, "udp4", "127.0.0.1:9999")
	if members, err := v4.Members(t.Context(), diag); err != nil {
		t.Error(err)
	} else if slots, err := Locate(t.Context(), []*Socket{v4.Socket}, members.Self, 2); !errors.Is(err, ErrNoProbe) || v4.CanProbe() {
		t.Errorf("UDP, IPv4: slots %d, %v, want ErrNoProbe", slots, err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0); err != nil {
		t.Logf("IPv6 stays: %v", err)
		if os.Getuid() == 0 {
			t.Error(err)
		}
	} else if v6 := open(t, "udp6", "[::]:9999"); v6.CanProbe() {
		t.Error("CanProbe without IPv6")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Locate(ctx, []*Socket{m.Socket}, members.Self, 2); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestUnsupportedSockets(t *testing.T) {
	mptcp := net.ListenConfig{Control: reuse.Port.Control}
	mptcp.SetMultipathTCP(true)
	for name, listen := range map[string]func() (net.Listener, error){
		"Multipath TCP": func() (net.Listener, error) { return mptcp.Listen(t.Context(), "tcp", "127.0.0.1:0") },
		"no option":     func() (net.Listener, error) { return reuse.Listen("tcp", "127.0.0.1:0") },
		"unix":          func() (net.Listener, error) { return net.Listen("unix", "@reuse-group-test") },
	} {
		ln, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := ln.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(c)
		if name == "no option" {
			// As package net opens it, it is Multipath TCP besides.
			if s == nil && errors.Is(err, errors.ErrUnsupported) {
				continue
			}
		}
		if name == "Multipath TCP" {
			if v, _ := os.ReadFile("/proc/sys/net/mptcp/enabled"); string(v) != "1\n" {
				continue // the kernel has none, and net falls back to TCP
			}
			if !errors.Is(err, ErrMPTCP) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s != nil || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, want errors.ErrUnsupported", name, err)
		}
	}
}
