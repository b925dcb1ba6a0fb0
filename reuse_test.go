package reuse_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
)

var modes = []reuse.Mode{reuse.Addr, reuse.Port}

// eachMode runs f for the modes that this system has.
func eachMode(t *testing.T, f func(t *testing.T, m reuse.Mode)) {
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			if err := m.Control("tcp", "", nopConn{}); errors.Is(err, errors.ErrUnsupported) {
				t.Skipf("%v on %s: %v", m, runtime.GOOS, err)
			}
			f(t, m)
		})
	}
}

// nopConn is a RawConn that leads to no socket.
type nopConn struct{ syscall.RawConn }

func (nopConn) Control(func(uintptr)) error { return nil }

func TestString(t *testing.T) {
	for m, want := range map[reuse.Mode]string{
		0:                       "0",
		reuse.Addr:              "Addr",
		reuse.Port:              "Port",
		reuse.Addr | reuse.Port: "Addr|Port",
		reuse.Port | 0x80:       "Port|0x80",
		0xfc:                    "0xfc",
	} {
		if got := m.String(); got != want {
			t.Errorf("Mode(%#x).String() = %q, want %q", uint8(m), got, want)
		}
	}
}

// The server closes first, so its side of the connection stays behind.
func TestRebind(t *testing.T) {
	eachMode(t, func(t *testing.T, m reuse.Mode) {
		address := "127.0.0.1:0"
		for range 3 {
			ln, err := m.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			address = ln.Addr().String()
			client, server := connect(t, ln)
			server.Close()
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Fatalf("read from a server that closed: %v", err)
			}
			client.Close()

			if _, err := reuse.Addr.Listen("tcp", address); err == nil {
				t.Fatal("Addr passed a live listener")
			}
			ln.Close()
		}
	})
}

// connect returns both ends of a connection to ln.
func connect(t testing.TB, ln net.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func TestTypes(t *testing.T) {
	eachMode(t, func(t *testing.T, m reuse.Mode) {
		ln, err := m.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if _, ok := ln.(*net.TCPListener); !ok {
			t.Errorf("Listen returns a %T", ln)
		}
		pc, err := m.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		if _, ok := pc.(*net.UDPConn); !ok {
			t.Errorf("ListenPacket returns a %T", pc)
		}
		if mptcp := m.ListenConfig().MultipathTCP(); mptcp && m == reuse.Port {
			t.Error("Multipath TCP is on")
		}
	})
}

func TestUnsupported(t *testing.T) {
	const unknown = reuse.Mode(0x10)
	type test struct {
		mode             reuse.Mode
		network, address string
	}
	tests := []test{
		{reuse.Port, "unix", "x"},
		{reuse.Port, "unixpacket", "x"},
		{reuse.Port, "unixgram", "x"},
		{reuse.Port | reuse.Addr, "unix", "x"},
		{reuse.Port, "ip4:icmp", "127.0.0.1"},
		{unknown, "tcp", "127.0.0.1:0"},
		{unknown, "udp", "127.0.0.1:0"},
		{unknown | reuse.Addr, "unix", "x"},
	}
	switch runtime.GOOS {
	case "windows", "solaris", "illumos":
		tests = append(tests,
			test{reuse.Port, "tcp", "127.0.0.1:0"},
			test{reuse.Port, "udp", "127.0.0.1:0"})
	}
	t.Chdir(t.TempDir())
	for _, test := range tests {
		_, err1 := test.mode.Listen(test.network, test.address)
		_, err2 := test.mode.ListenPacket(test.network, test.address)
		err3 := test.mode.Control(test.network, test.address, nopConn{})
		for i, err := range []error{err1, err2, err3} {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%v on %s, call %d: %v", test.mode, test.network, i, err)
			}
			var op *net.OpError
			if i < 2 && (!errors.As(err, &op) || op.Op != "listen" || op.Net != test.network) {
				t.Errorf("%v on %s, call %d: %#v is not package net's error", test.mode, test.network, i, err)
			}
			if want := "listen " + test.network + " " + test.address + ": "; i < 2 && !strings.HasPrefix(fmt.Sprint(err), want) {
				t.Errorf("call %d: %v, want %q at the beginning", i, err, want)
			}
		}
	}
}

func TestWith(t *testing.T) {
	var calls []string
	hook := func(name string, err error) reuse.ControlFunc {
		return func(network, address string, _ syscall.RawConn) error {
			calls = append(calls, name+" "+network+" "+address)
			return err
		}
	}
	failure := errors.New("failure")
	tests := []struct {
		name  string
		mode  reuse.Mode
		next  []reuse.ControlFunc
		calls string
		err   error
	}{
		{"none", 0, nil, "", nil},
		{"order", 0, []reuse.ControlFunc{hook("a", nil), nil, hook("b", nil)}, "a,b", nil},
		{"first error", 0, []reuse.ControlFunc{hook("a", failure), hook("b", nil)}, "a", failure},
		{"mode's error", 0x10, []reuse.ControlFunc{hook("a", nil)}, "", errors.ErrUnsupported},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls = nil
			control := test.mode.With(test.next...)
			if err := control("tcp4", "x:1", nopConn{}); !errors.Is(err, test.err) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			var want []string
			for _, name := range strings.FieldsFunc(test.calls, func(r rune) bool { return r == ',' }) {
				want = append(want, name+" tcp4 x:1")
			}
			if !slices.Equal(calls, want) {
				t.Errorf("calls %q, want %q", calls, want)
			}
		})
	}

	// The caller's slice is its own again after With has returned.
	next := []reuse.ControlFunc{hook("a", nil)}
	control := reuse.Mode(0).With(next...)
	next[0] = hook("changed", nil)
	calls = nil
	if err := control("tcp", "", nopConn{}); err != nil || !slices.Equal(calls, []string{"a tcp "}) {
		t.Errorf("after a change of the caller's slice: calls %q, error %v", calls, err)
	}
}

// With runs before bind, on the socket that is then listened on.
func TestWithListens(t *testing.T) {
	eachMode(t, func(t *testing.T, m reuse.Mode) {
		var saw string
		config := m.ListenConfig()
		config.Control = m.With(func(network, address string, c syscall.RawConn) error {
			saw = network
			return nil
		})
		ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		if saw != "tcp4" {
			t.Errorf("the hook saw network %q", saw)
		}
	})
}

// Two listeners share a port, and where the kernel balances both get clients.
func TestPort(t *testing.T) {
	const clients = 100
	first, err := reuse.Port.Listen("tcp", "127.0.0.1:0")
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	address := first.Addr().String()
	if ln, err := reuse.Addr.Listen("tcp", address); err == nil {
		ln.Close()
		t.Fatal("a listener without Port shares the port")
	}
	second, err := reuse.Port.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()

	accepted := make(chan int, clients)
	for i, ln := range []net.Listener{first, second} {
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				accepted <- i
				conn.Close()
			}
		}()
	}
	var got [2]int
	for range clients {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		got[<-accepted]++
		conn.Close()
	}
	t.Logf("connections at the two listeners: %v", got)
	balances := reuse.Balances("tcp", address)
	if spread := min(got[0], got[1]) > clients/10; spread != balances {
		t.Errorf("Balances(tcp, %s) = %v, but the listeners got %v", address, balances, got)
	}
}

// The same for UDP. Each client has an address of its own, by which the kernel
// chooses.
func TestPortPacket(t *testing.T) {
	const clients = 100
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	first, err := reuse.Port.ListenPacket("udp", free.LocalAddr().String())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	address := first.LocalAddr().String()
	if pc, err := reuse.Addr.ListenPacket("udp", address); err == nil {
		pc.Close()
		t.Fatal("a socket without Port shares the port")
	}
	second, err := reuse.Port.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	got := [2]int{}
	received := make(chan int, clients)
	for i, pc := range []net.PacketConn{first, second} {
		go func() {
			for {
				if _, _, err := pc.ReadFrom(make([]byte, 1)); err != nil {
					return
				}
				received <- i
			}
		}()
	}
	for range clients {
		conn, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		got[<-received]++
		conn.Close()
	}
	t.Logf("datagrams at the two sockets: %v", got)
	balances := reuse.Balances("udp", address)
	if spread := min(got[0], got[1]) > clients/10; spread != balances {
		t.Errorf("Balances(udp, %s) = %v, but the sockets got %v", address, balances, got)
	}
}
