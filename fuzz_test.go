package reuse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"example.com/reuse"
)

// The strings that package net has rules for. They are seeds, and the table
// that every go test runs.
var (
	networks = []string{
		"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram", "unixpacket",
		"ip", "ip4", "ip4:icmp", "ip4:1", "ip6:ipv6-icmp", "ip:nonsense", "ip4:", "", "TCP", "tcp5", "unixx",
	}
	addresses = []string{
		"", ":", ":0", "0", "127.0.0.1:0", "127.0.0.1:", "127.0.0.1", "[::1]:0", "::1:0", "[::1", "[::]:0", "0.0.0.0:0",
		"[::ffff:127.0.0.1]:0", "[::ffff:0.0.0.0]:0", "[::1%lo]:0", "[::1%1]:0", "[fe80::1%lo]:0", "[fe80::1]:0", "[::%lo]:0",
		"localhost:0", "LOCALHOST:0", "localhost:echo", ":domain", ":nonsense", ":65536", ":-1", ":99999999999999999999",
		"127.0.0.1:00", "127.0.0.1:+0", "127.0.0.1:-0", "127.0.0.1:0x0", "127.0.0.1:0 ", "127.1:0", "0127.0.0.1:0", "256.0.0.1:0",
		"192.0.2.1:0", "[2001:db8::1]:0", "255.255.255.255:0", "224.0.0.1:0", "[ff02::1%lo]:0",
		"host.invalid:0", "\x00:0", "@", "@reuse-fuzz", "\x00reuse-fuzz", "socket", "socket\x00", strings.Repeat("x", 107),
		strings.Repeat("x", 108), ".", "..", "127.0.0.1:0:0", "[127.0.0.1]:0", "[]:0", "*:0", "%lo:0", "\xff\xfe:0",
	}
)

// FuzzListen compares Listen and ListenPacket with package net's, for every
// Mode that has the network.
func FuzzListen(f *testing.F) {
	for _, network := range networks {
		for _, address := range addresses {
			f.Add(network, address)
		}
	}
	offline(f)
	f.Chdir(f.TempDir())
	f.Fuzz(func(t *testing.T, network, address string) {
		if strings.HasPrefix(network, "unix") && strings.ContainsAny(address, "/\\") {
			t.Skip("outside of the test's directory")
		}
		if multicast(address) {
			t.Skip("would tell the network of its membership")
		}
		for _, m := range []reuse.Mode{0, reuse.Addr, reuse.Port} {
			if err := m.Control(network, address, nopConn{}); errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			same(t, m, "Listen", network, address, listenWith(net.Listen), listenWith(m.Listen))
			same(t, m, "ListenPacket", network, address, packetWith(net.ListenPacket), packetWith(m.ListenPacket))
			config, plain := m.ListenConfig(), net.ListenConfig{}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			for _, ctx := range []context.Context{t.Context(), cancelled} {
				same(t, m, "ListenConfig.Listen", network, address,
					listenWith(func(network, address string) (net.Listener, error) { return plain.Listen(ctx, network, address) }),
					listenWith(func(network, address string) (net.Listener, error) { return config.Listen(ctx, network, address) }))
			}
		}
	})
}

// multicast reports whether to listen at address is to join a group, other than
// those that every host is in.
func multicast(address string) bool {
	addr, err := netip.ParseAddrPort(address)
	ip := addr.Addr().Unmap().WithZone("")
	return err == nil && ip.IsMulticast() &&
		ip != netip.IPv6LinkLocalAllNodes() && ip != netip.MustParseAddr("224.0.0.1")
}

type opener func(network, address string) (c io.Closer, addr net.Addr, err error)

func listenWith(listen func(network, address string) (net.Listener, error)) opener {
	return func(network, address string) (io.Closer, net.Addr, error) {
		ln, err := listen(network, address)
		if err != nil {
			return nil, nil, err
		}
		return ln, ln.Addr(), nil
	}
}

func packetWith(listen func(network, address string) (net.PacketConn, error)) opener {
	return func(network, address string) (io.Closer, net.Addr, error) {
		pc, err := listen(network, address)
		if err != nil {
			return nil, nil, err
		}
		return pc, pc.LocalAddr(), nil
	}
}

// same fails the test unless both calls have the same outcome.
func same(t *testing.T, m reuse.Mode, call, network, address string, theirs, ours opener) {
	t.Helper()
	var want, got string
	for range 1000 { // another fuzzing process can have the address for a moment
		want, got = outcome(network, address, theirs), outcome(network, address, ours)
		if want == got {
			return
		}
	}
	t.Errorf("%v.%s(%q, %q):\n%s\npackage net:\n%s", m, call, network, address, got, want)
}

// outcome describes the socket that was opened, or the error: its text, and the
// types and the errno below.
func outcome(network, address string, open opener) string {
	c, addr, err := open(network, address)
	if err == nil {
		defer c.Close()
		if strings.HasPrefix(network, "unix") {
			path, _, _ := strings.Cut(address, "\x00")
			defer os.Remove(path) // Close leaves that of a packet socket
		}
		s := fmt.Sprintf("%T %T %s", c, addr, addr.Network())
		switch addr := addr.(type) {
		case *net.TCPAddr:
			s += fmt.Sprint(" ", addr.IP, addr.Zone)
		case *net.UDPAddr:
			s += fmt.Sprint(" ", addr.IP, addr.Zone)
		}
		return s
	}
	s := err.Error()
	for ; err != nil; err = errors.Unwrap(err) {
		s += fmt.Sprintf(" %T", err)
		if v := reflect.ValueOf(err); v.CanUint() { // a syscall.Errno, which Plan 9 lacks
			s += fmt.Sprint(" ", v.Uint())
		}
	}
	return s
}

// offline keeps the resolver from asking anybody.
func offline(t testing.TB) {
	resolver := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = resolver })
	net.DefaultResolver = &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("offline")
		},
	}
}
