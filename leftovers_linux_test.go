package reuse_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A server restarts over a connection of the former run, in whatever state that
// is and whichever mode the two runs have.
func TestLeftovers(t *testing.T) {
	addresses := []struct{ listen, dial string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{":0", "127.0.0.1"},
		{"[::1]:0", "::1"},
	}
	for _, state := range testnet.States {
		t.Run(state.String(), func(t *testing.T) {
			for _, address := range addresses {
				for _, former := range modes {
					for _, mode := range modes {
						t.Run(fmt.Sprintf("%s/%v-%v", address.listen, former, mode), func(t *testing.T) {
							ln, err := former.Listen("tcp", address.listen)
							if err != nil {
								t.Fatal(err)
							}
							addr := ln.Addr().(*net.TCPAddr)
							testnet.Leave(t, ln, net.JoinHostPort(address.dial, fmt.Sprint(addr.Port)), state)
							refused(t, addr)
							ln, err = mode.Listen("tcp", addr.String())
							if err != nil {
								t.Fatal(err)
							}
							defer ln.Close()
							serves(t, ln, net.JoinHostPort(address.dial, fmt.Sprint(addr.Port)))
						})
					}
				}
			}
		})
	}
}

// serves fails the test unless a connection to address reaches ln.
func serves(t testing.TB, ln net.Listener, address string) {
	t.Helper()
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got, want := server.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("accepted %s, want %s", got, want)
	}
}

// What a listener without SO_REUSEADDR left behind is passed by no option, and
// an option that comes after bind comes too late.
func TestTooLate(t *testing.T) {
	without := net.ListenConfig{Control: testnet.NoOption.Control}
	for _, state := range testnet.States {
		t.Run(state.String(), func(t *testing.T) {
			ln, err := without.Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := ln.Addr()
			late := func() error { // on the listener, once it has a connection
				c, err := ln.(*net.TCPListener).SyscallConn()
				if err != nil {
					return err
				}
				return (testnet.ReuseAddr | testnet.ReusePort).Control("tcp", addr.String(), c)
			}
			testnet.Leave(t, closeAfter{ln, late}, addr.String(), state)
			for _, m := range modes {
				ln, err := m.Listen("tcp", addr.String())
				wantInUse(t, m.String(), err)
				if err == nil {
					ln.Close()
				}
			}
		})
	}

	t.Run("bound elsewhere", func(t *testing.T) {
		ln, err := reuse.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().(*net.TCPAddr).AddrPort()
		testnet.Leave(t, ln, addr.String(), testnet.TimeWait)
		refused(t, net.TCPAddrFromAddrPort(addr))
		fd, err := testnet.Bind(unix.SOCK_STREAM, netip.AddrPortFrom(addr.Addr(), 0), false, testnet.NoOption)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := testnet.ReuseAddr.Set(fd); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != unix.EINVAL {
			t.Errorf("second bind of one socket: %v, want EINVAL", err)
		}
	})
}

// closeAfter calls before ahead of Close, and fails with it.
type closeAfter struct {
	net.Listener
	before func() error
}

func (l closeAfter) Close() error { return errors.Join(l.before(), l.Listener.Close()) }

// A client's connection holds its port like a server's, and net.Dial gives it
// no option.
func TestLeftoverOfDial(t *testing.T) {
	testnet.NeedTables(t)
	for _, test := range []struct {
		name    string
		control reuse.ControlFunc
		passes  bool
	}{
		{"net.Dial", nil, false},
		{"Addr.Control", reuse.Addr.Control, true},
		{"Port.Control", reuse.Port.Control, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			dialer := net.Dialer{
				LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)},
				Control:   test.control,
			}
			client, err := dialer.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			server, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			client.Close()
			if _, err := io.Copy(io.Discard, server); err != nil {
				t.Fatal(err)
			}
			server.Close()
			addr := client.LocalAddr().(*net.TCPAddr)
			testnet.See(t, addr, client.RemoteAddr(), testnet.TimeWait)
			refused(t, addr)
			for _, m := range modes {
				ln, err := m.Listen("tcp", addr.String())
				if err == nil {
					ln.Close()
				}
				if test.passes && err != nil {
					t.Errorf("%v: %v", m, err)
				}
				if !test.passes && !errors.Is(err, syscall.EADDRINUSE) {
					t.Errorf("%v: %v, want EADDRINUSE", m, err)
				}
			}
		})
	}
}

// A reserved port is not given to clients.
func TestReservedPorts(t *testing.T) {
	testnet.Namespace(t)
	server, err := reuse.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
	testnet.Sysctl(t, "ip_local_reserved_ports", "20000")
	if _, err := net.Dial("tcp", "127.0.0.1:9999"); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("with the only port reserved: %v, want EADDRNOTAVAIL", err)
	}
	testnet.Sysctl(t, "ip_local_reserved_ports", "\n")
	client, err := net.Dial("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal("the control: ", err)
	}
	client.Close()
}
