package sockdiag

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// situation opens a known set of sockets in a namespace and a directory of its
// own. The corpus shows the same set on other kernels.
func situation(t testing.TB) {
	t.Helper()
	testnet.Namespace(t)
	if t, ok := t.(*testing.T); ok {
		t.Chdir(t.TempDir())
	}
	listen := func(network, address string) net.Listener {
		t.Helper()
		config := net.ListenConfig{}
		config.SetMultipathTCP(false)
		ln, err := config.Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	connect := func(ln net.Listener, from, to string) (client, server net.Conn) {
		t.Helper()
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
		dialer.SetMultipathTCP(false)
		client, err := dialer.Dial("tcp", to)
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
	connect(listen("tcp4", "127.0.0.1:5001"), "127.0.0.1:6001", "127.0.0.1:5001")
	connect(listen("tcp", ":5002"), "127.0.0.1:6002", "127.0.0.1:5002")
	listen("tcp6", ":5003")
	client, server := connect(listen("tcp", "[::1]:5004"), "[::1]:6004", "[::1]:5004")
	server.Close()
	client.Close()
	testnet.See(t, server.LocalAddr(), server.RemoteAddr(), testnet.TimeWait)

	udp := func(local string, remote string) {
		t.Helper()
		laddr := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local))
		var conn *net.UDPConn
		var err error
		if remote == "" {
			conn, err = net.ListenUDP("udp", laddr)
		} else {
			conn, err = net.DialUDP("udp", laddr, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(remote)))
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	udp("127.0.0.1:5001", "")
	udp("127.0.0.1:5005", "127.0.0.1:5001")
	udp("[::1]:5004", "")

	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 5006, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}

	listen("unix", "stream")
	listen("unix", "with blank")
	listen("unix", "two\nlines")
	listen("unixpacket", "@packet")
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "datagrams", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { datagrams.Close() })
}

// What situation opens. Connections have two ends.
var (
	wantTCP4 = []string{
		"LISTEN 127.0.0.1:5001 0.0.0.0:0",
		"ESTABLISHED 127.0.0.1:5001 127.0.0.1:6001",
		"ESTABLISHED 127.0.0.1:6001 127.0.0.1:5001",
		"ESTABLISHED 127.0.0.1:6002 127.0.0.1:5002",
	}
	wantTCP6 = []string{
		"LISTEN [::]:5002 [::]:0",
		"LISTEN [::]:5003 [::]:0",
		"LISTEN [::1]:5004 [::]:0",
		"ESTABLISHED 127.0.0.1:5002 127.0.0.1:6002", // mapped
		"TIME_WAIT [::1]:5004 [::1]:6004",
	}
	wantUDP4 = []string{
		"CLOSE 127.0.0.1:5001 0.0.0.0:0",
		"ESTABLISHED 127.0.0.1:5005 127.0.0.1:5001",
	}
	wantUDP6  = []string{"CLOSE [::1]:5004 [::]:0"}
	wantBound = []string{"BOUND 127.0.0.1:5006 0.0.0.0:0"}
	wantUnix  = []string{
		"unix LISTEN stream", "unix LISTEN with blank", "unix LISTEN two\nlines",
		"unixpacket LISTEN @packet", "unixgram CLOSE datagrams",
	}
)

// check fails the test unless sockets are the wanted ones and make sense.
func check(t testing.TB, sockets []Socket, want []string) {
	t.Helper()
	var got []string
	for _, s := range sockets {
		got = append(got, fmt.Sprint(s.State, " ", s.Local, " ", s.Remote))
		owned := s.State != TimeWait
		if (s.Inode != 0) != owned || s.Leftover() == owned || s.UID != 0 {
			t.Errorf("%+v", s)
		}
		if s.State == TimeWait && (s.Timer != 3 || s.Expires <= 0 || s.Expires.Seconds() > 60) {
			t.Errorf("%+v", s)
		}
		if v6only := s.Local.Port() == 5003; s.V6OnlyKnown && s.Local.Addr().IsUnspecified() && s.V6Only != v6only {
			t.Errorf("%+v", s)
		}
	}
	if got, want := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// checkUnix is check for unix sockets. Others' are there as well.
func checkUnix(t testing.TB, sockets []UnixSocket) {
	t.Helper()
	var got []string
	for _, s := range sockets {
		if s.Name == "" || s.State == Established {
			continue
		}
		got = append(got, fmt.Sprint(s.TypeName(), " ", s.State, " ", s.Name))
		if s.Inode == 0 || s.UID != 0 {
			t.Errorf("%+v", s)
		}
	}
	if got, want := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(wantUnix)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// byAddress sorts sockets.
func byAddress(a, b Socket) int {
	return cmp.Or(cmp.Compare(a.Family, b.Family), a.Local.Compare(b.Local), a.Remote.Compare(b.Remote), cmp.Compare(a.State, b.State))
}
