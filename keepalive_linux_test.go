package reuse_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// tcpOptions are the options that net sets on an accepted connection.
type tcpOptions struct{ noDelay, keepAlive, idle, interval, count int }

func tcpOptionsOf(t testing.TB, sock any) (o tcpOptions) {
	t.Helper()
	c, err := sock.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Control(func(fd uintptr) {
		for _, option := range []struct {
			value         *int
			level, option int
		}{
			{&o.noDelay, unix.IPPROTO_TCP, unix.TCP_NODELAY},
			{&o.keepAlive, unix.SOL_SOCKET, unix.SO_KEEPALIVE},
			{&o.idle, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
			{&o.interval, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
			{&o.count, unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
		} {
			var failed error
			*option.value, failed = unix.GetsockoptInt(int(fd), option.level, option.option)
			err = errors.Join(err, failed)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// accepted returns what ln accepts from a client at host.
func accepted(t testing.TB, ln net.Listener, host string, multipath bool) *net.TCPConn {
	t.Helper()
	dialer := net.Dialer{}
	dialer.SetMultipathTCP(multipath)
	port := ln.Addr().(*net.TCPAddr).Port
	client, err := dialer.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// Connections have the options that they have with package net, which are the
// control. Only a listener of a mode's Listen holds them: everywhere else they are
// a matter of net's, and of the caller's.
func TestKeepAlive(t *testing.T) {
	type listen = func(network, address string) (net.Listener, error)
	inherits := inheritsKeepAlive(t)
	for _, test := range []struct {
		name   string
		change func(*net.ListenConfig) // nil: Listen
	}{
		{"Listen", nil},
		{"ListenConfig", func(*net.ListenConfig) {}},
		{"negative", func(c *net.ListenConfig) { c.KeepAlive = -1 }},
		{"positive", func(c *net.ListenConfig) { c.KeepAlive = 70 * time.Second }},
		{"KeepAliveConfig", func(c *net.ListenConfig) {
			c.KeepAlive = -1
			c.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: -1, Count: 5}
		}},
	} {
		open := func(config *net.ListenConfig) listen {
			if test.change != nil {
				test.change(config)
			}
			return func(network, address string) (net.Listener, error) {
				return config.Listen(context.Background(), network, address)
			}
		}
		for _, m := range []reuse.Mode{0, reuse.Addr, reuse.Port, reuse.Addr | reuse.Port} {
			ours := listen(m.Listen)
			if test.change != nil {
				ours = open(m.ListenConfig())
			}
			for _, at := range []struct{ network, address, client string }{
				{"tcp", "127.0.0.1:0", "127.0.0.1"},
				{"tcp4", ":0", "127.0.0.1"},
				{"tcp6", "[::1]:0", "::1"},
				{"tcp", ":0", "127.0.0.1"},
				{"tcp", ":0", "::1"},
			} {
				for _, multipath := range []bool{false, true} {
					got, held := keepAlives(t, ours, at.network, at.address, at.client, multipath)
					want, _ := keepAlives(t, open(new(net.ListenConfig)), at.network, at.address, at.client, multipath)
					if got != want {
						t.Errorf("%s, %v, %v, multipath %v: a connection has %+v, net's %+v", test.name, m, at, multipath, got, want)
					}
					if holds := held.keepAlive != 0; holds != (test.change == nil && m != 0 && inherits) {
						t.Errorf("%s, %v, %v: the listener holds keep-alive: %v", test.name, m, at, holds)
					}
				}
			}
		}
	}
}

// keepAlives returns the options of a connection that a new listener accepts, and
// those of the listener.
func keepAlives(t testing.TB, listen func(network, address string) (net.Listener, error), network, address, client string, multipath bool) (conn, held tcpOptions) {
	t.Helper()
	ln, err := listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return tcpOptionsOf(t, accepted(t, ln, client, multipath)), tcpOptionsOf(t, ln)
}

// inheritsKeepAlive reports whether connections have what their listener has. On
// Linux they do; gVisor is another matter.
func inheritsKeepAlive(t testing.TB) bool {
	t.Helper()
	config := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		})
		return errors.Join(err, failed)
	}}
	conn, _ := keepAlives(t, func(network, address string) (net.Listener, error) {
		return config.Listen(context.Background(), network, address)
	}, "tcp4", "127.0.0.1:0", "127.0.0.1", false)
	return conn.keepAlive != 0
}

// An inherited keep-alive is not just shown: its timer runs.
func TestKeepAliveTimer(t *testing.T) {
	diag, err := sockdiag.Open()
	if sockdiag.Missing(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	const keepAlive = 2
	for _, test := range []struct {
		listen func() (net.Listener, error)
		want   uint8
	}{
		{func() (net.Listener, error) { return reuse.Listen("tcp4", "127.0.0.1:0") }, keepAlive},
		{func() (net.Listener, error) {
			return (&net.ListenConfig{KeepAlive: -1}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
		}, 0},
	} {
		ln, err := test.listen()
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		conn := accepted(t, ln, "127.0.0.1", false)
		port := conn.LocalAddr().(*net.TCPAddr).AddrPort().Port()
		sockets, err := diag.Sockets(t.Context(), sockdiag.Request{
			Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET, LocalPort: port, States: sockdiag.Set(sockdiag.Established),
		})
		if sockdiag.Missing(err) {
			t.Skip(err)
		}
		if err != nil || len(sockets) != 1 {
			t.Fatalf("%v, %v", sockets, err)
		}
		if s := sockets[0]; s.Timer != test.want || s.Expires > 15*time.Second {
			t.Errorf("timer %d, which expires in %v, want %d", s.Timer, s.Expires, test.want)
		}
	}
}

// Sockets of other networks have no keep-alive before and none now.
func TestKeepAliveElsewhere(t *testing.T) {
	ln, err := reuse.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	pc, err := reuse.Port.ListenPacket("udp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for _, sock := range []any{ln, pc} {
		if testnet.Sockopt(t, sock, unix.SO_KEEPALIVE) != 0 {
			t.Errorf("%T has SO_KEEPALIVE", sock)
		}
	}
}
