package reuse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// TestOptions reads the options back from the sockets.
func TestOptions(t *testing.T) {
	const A, P = testnet.ReuseAddr, testnet.ReusePort
	ctx := context.Background()
	packet := func(pc net.PacketConn, err error) (io.Closer, error) { return pc, err }
	listener := func(ln net.Listener, err error) (io.Closer, error) { return ln, err }
	conn := func(c net.Conn, err error) (io.Closer, error) { return c, err }
	local := map[string]net.Addr{
		"tcp": &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)},
		"udp": &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)},
	}
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	dialer := func(network string, control reuse.ControlFunc) *net.Dialer {
		return &net.Dialer{LocalAddr: local[network[:3]], Control: control}
	}

	type want map[reuse.Mode]testnet.Options
	tests := []struct {
		name              string
		open              func(m reuse.Mode, network, address string) (io.Closer, error)
		networks, address string
		want              want
	}{
		{"Listen", func(m reuse.Mode, n, a string) (io.Closer, error) { return listener(m.Listen(n, a)) },
			"tcp tcp4", "127.0.0.1:0", want{0: A, reuse.Addr: A, reuse.Port: A + P, reuse.Addr | reuse.Port: A + P}},
		{"Listen", func(m reuse.Mode, n, a string) (io.Closer, error) { return listener(m.Listen(n, a)) },
			"tcp tcp6", "[::1]:0", want{0: A, reuse.Addr: A, reuse.Port: A + P}},
		{"ListenPacket", func(m reuse.Mode, n, a string) (io.Closer, error) { return packet(m.ListenPacket(n, a)) },
			"udp udp4", "127.0.0.1:0", want{0: 0, reuse.Addr: 0, reuse.Port: P, reuse.Addr | reuse.Port: P}},
		{"ListenPacket", func(m reuse.Mode, n, a string) (io.Closer, error) { return packet(m.ListenPacket(n, a)) },
			"udp udp4", "127.0.0.1:" + ownPort(), want{0: 0, reuse.Addr: 0, reuse.Port: P, reuse.Addr | reuse.Port: P}},
		{"ListenPacket", func(m reuse.Mode, n, a string) (io.Closer, error) { return packet(m.ListenPacket(n, a)) },
			"udp udp4", "224.0.0.1:" + ownPort(), want{0: A, reuse.Addr: A, reuse.Port: A + P}},
		{"ListenPacket", func(m reuse.Mode, n, a string) (io.Closer, error) { return packet(m.ListenPacket(n, a)) },
			"ip4:icmp ip:1", "127.0.0.1", want{0: A, reuse.Addr: A}}, // inet_create sets it on raw sockets
		{"ListenPacket", func(m reuse.Mode, n, a string) (io.Closer, error) { return packet(m.ListenPacket(n, a)) },
			"unixgram", "@reuse-options", want{0: 0, reuse.Addr: 0}},
		{"Listen", func(m reuse.Mode, n, a string) (io.Closer, error) { return listener(m.Listen(n, a)) },
			"unix unixpacket", "@reuse-options", want{0: A, reuse.Addr: A}}, // package net sets it, without effect

		{"ListenConfig.Listen", func(m reuse.Mode, n, a string) (io.Closer, error) {
			return listener(m.ListenConfig().Listen(ctx, n, a))
		}, "tcp", "127.0.0.1:0", want{0: A, reuse.Addr: A, reuse.Port: A + P, reuse.Addr | reuse.Port: A + P}},
		{"ListenConfig.Listen", func(m reuse.Mode, n, a string) (io.Closer, error) {
			return listener(m.ListenConfig().Listen(ctx, n, a))
		}, "unix", "@reuse-options", want{0: A, reuse.Addr: A}},
		{"ListenConfig.ListenPacket", func(m reuse.Mode, n, a string) (io.Closer, error) {
			return packet(m.ListenConfig().ListenPacket(ctx, n, a))
		}, "udp", "127.0.0.1:0", want{0: 0, reuse.Addr: A, reuse.Port: P, reuse.Addr | reuse.Port: A + P}},

		// The control for these is the zero Mode, without any option.
		{"Dialer.Control", func(m reuse.Mode, n, a string) (io.Closer, error) {
			return conn(dialer(n, m.Control).Dial(n, a))
		}, "tcp", peer.Addr().String(), want{0: 0, reuse.Addr: A, reuse.Port: A + P}},
		{"Dialer.Control", func(m reuse.Mode, n, a string) (io.Closer, error) {
			return conn(dialer(n, m.Control).Dial(n, a))
		}, "udp", peer.Addr().String(), want{0: 0, reuse.Addr: A, reuse.Port: P, reuse.Addr | reuse.Port: A + P}},
		{"Dialer.Control with With", func(m reuse.Mode, n, a string) (io.Closer, error) {
			return conn(dialer(n, m.With(m.Control, m.Control)).Dial(n, a))
		}, "tcp", peer.Addr().String(), want{0: 0, reuse.Addr: A, reuse.Port: A + P}},
	}
	for _, test := range tests {
		for _, network := range strings.Fields(test.networks) {
			for m, want := range test.want {
				t.Run(test.name+"/"+network+"/"+test.address+"/"+m.String(), func(t *testing.T) {
					sock, err := test.open(m, network, test.address)
					if errors.Is(err, syscall.EPERM) && strings.HasPrefix(network, "ip") {
						t.Skip("raw sockets need root: ", err)
					}
					if err != nil {
						t.Fatal(err)
					}
					defer sock.Close()
					if got := testnet.OptionsOf(t, sock); got != want {
						t.Errorf("options %v, want %v", got, want)
					}
				})
			}
		}
	}
}

// Port turns Multipath TCP off, and the zero Mode and Addr leave it to net.
func TestProtocol(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	of := map[reuse.Mode]int{0: testnet.Sockopt(t, ln, unix.SO_PROTOCOL), reuse.Port: unix.IPPROTO_TCP}
	of[reuse.Addr] = of[0]
	if of[0] == unix.IPPROTO_TCP {
		t.Log("package net uses no Multipath TCP here")
	}
	for m, want := range of {
		for _, listen := range []func(network, address string) (net.Listener, error){
			m.Listen,
			func(network, address string) (net.Listener, error) {
				return m.ListenConfig().Listen(t.Context(), network, address)
			},
		} {
			ln, err := listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if got := testnet.Sockopt(t, ln, unix.SO_PROTOCOL); got != want {
				t.Errorf("%v: protocol %d, want %d", m, got, want)
			}
			ln.Close()
		}
	}
}

// Where one UDP socket with SO_REUSEADDR is, Addr has to bind with it, and seals
// the port again; a socket for a multicast address stays open.
func TestSealed(t *testing.T) {
	for _, test := range []struct {
		address string
		mode    reuse.Mode
		want    testnet.Options
	}{
		{"127.0.0.1:0", reuse.Addr, testnet.NoOption},
		{":0", reuse.Addr, testnet.NoOption},
		{"[::1]:0", reuse.Addr, testnet.NoOption},
		{"127.0.0.1:0", reuse.Addr | reuse.Port, testnet.ReusePort},
		{"224.0.0.1:" + ownPort(), reuse.Addr, testnet.ReuseAddr},
	} {
		t.Run(test.address+"/"+test.mode.String(), func(t *testing.T) {
			former := net.ListenConfig{Control: testnet.ReuseAddr.Control}
			there, err := former.ListenPacket(t.Context(), "udp", test.address)
			if err != nil {
				t.Fatal(err)
			}
			defer there.Close()
			address := there.LocalAddr().String()
			if test.want != testnet.ReuseAddr { // the control
				_, err := net.ListenPacket("udp", address)
				wantInUse(t, "net.ListenPacket", err)
			} else {
				address = test.address
			}
			pc, err := test.mode.ListenPacket("udp", address)
			if test.want != testnet.ReuseAddr && goesByBind(t) {
				wantInUse(t, "where options count that a socket had at its bind", err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			if got := testnet.OptionsOf(t, pc); got != test.want {
				t.Errorf("options %v, want %v", got, test.want)
			}
			third, err := former.ListenPacket(t.Context(), "udp", address)
			if test.want == testnet.ReuseAddr {
				if err != nil {
					t.Errorf("another member of the multicast group: %v", err)
				}
			} else {
				wantInUse(t, "SO_REUSEADDR on top", err)
			}
			if err == nil {
				third.Close()
			}
		})
	}
}

// ignored is a process whose kernel takes an option and does nothing, that of its
// first argument. It prints the errors of the second argument's mode.
func ignored(args []string) error {
	option := map[string]uint32{"SO_REUSEADDR": unix.SO_REUSEADDR, "SO_REUSEPORT": unix.SO_REUSEPORT, "none": 1 << 31}[args[0]]
	_, err := testnet.Seccomp(0, []unix.SockFilter{
		{Code: 0x20, K: 0}, // the number of the system call
		{Code: 0x15, K: unix.SYS_SETSOCKOPT, Jf: 5},
		{Code: 0x20, K: 24 + testnet.LowWord()}, // its second argument
		{Code: 0x15, K: unix.SOL_SOCKET, Jf: 3},
		{Code: 0x20, K: 32 + testnet.LowWord()}, // its third
		{Code: 0x15, K: option, Jf: 1},
		{Code: 0x06, K: unix.SECCOMP_RET_ERRNO}, // no error
		{Code: 0x06, K: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return err
	}
	m := map[string]reuse.Mode{"Addr": reuse.Addr, "Port": reuse.Port}[args[1]]
	for _, open := range []func() (io.Closer, error){
		func() (io.Closer, error) { return m.Listen("tcp", "127.0.0.1:0") },
		func() (io.Closer, error) { return m.ListenPacket("udp", "127.0.0.1:0") },
		func() (io.Closer, error) { return m.ListenPacket("udp", "127.0.0.1:"+ownPort()) },
		func() (io.Closer, error) {
			return m.ListenConfig().ListenPacket(context.Background(), "udp", "127.0.0.1:0")
		},
		func() (io.Closer, error) {
			dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, Control: m.Control}
			return dialer.Dial("udp", "127.0.0.1:9")
		},
	} {
		sock, err := open()
		if err == nil {
			sock.Close()
		}
		switch {
		case err == nil:
			fmt.Print("opened ")
		case errors.Is(err, errors.ErrUnsupported) && strings.Contains(err.Error(), "setsockopt "+args[0]):
			fmt.Print("unsupported ")
		default:
			fmt.Print(err)
		}
	}
	fmt.Println()
	return nil
}

// An option that the kernel takes and ignores is unsupported, wherever it is set by
// this package. Package net sets SO_REUSEADDR for a listener.
func TestIgnoredOption(t *testing.T) {
	testnet.NeedArguments(t)
	for _, test := range []struct{ option, mode, want string }{
		{"SO_REUSEPORT", "Port", "unsupported unsupported unsupported unsupported unsupported "},
		{"SO_REUSEADDR", "Addr", "opened opened opened unsupported unsupported "},
		{"SO_REUSEPORT", "Addr", "opened opened opened opened opened "},
		{"none", "Port", "opened opened opened opened opened "}, // the control
	} {
		p := testnet.Start(t, os.Getuid(), "ignored", test.option, test.mode)
		if got := p.Line(t); got != test.want {
			t.Errorf("%s ignored, %s: %q, want %q", test.option, test.mode, got, test.want)
		}
	}
}
