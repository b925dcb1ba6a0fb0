package sockdiag

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// otherUser owns some of the sockets.
const otherUser = 65534

// situation opens a known set of sockets in a namespace and a directory of its
// own. The corpus shows the same set on other kernels.
func situation(t testing.TB) truth {
	t.Helper()
	testnet.NeedTables(t)
	testnet.Namespace(t)
	if t, ok := t.(*testing.T); ok {
		t.Chdir(t.TempDir())
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	w := truth{Kernel: unix.ByteSliceToString(name.Release[:]), BigEndian: binary.NativeEndian.Uint16([]byte{0, 1}) == 1}
	if *emulated {
		w.BigEndian = !w.BigEndian
	}
	w.tcp(t)
	w.udp(t)
	w.unix(t)
	return w
}

func (w *truth) tcp(t testing.TB) {
	t.Helper()
	v4 := w.listen(t, "tcp4", "127.0.0.1:5001", nil)
	w.established(t, v4, "127.0.0.1:6001", "127.0.0.1:5001")
	w.timeWait(t, v4, "127.0.0.1:6009", "127.0.0.1:5001")
	dual := w.listen(t, "tcp", "[::]:5002", nil)
	w.established(t, dual, "127.0.0.1:6002", "127.0.0.1:5002")
	w.listen(t, "tcp6", "[::]:5003", nil)
	v6 := w.listen(t, "tcp", "[::1]:5004", nil)
	w.timeWait(t, v6, "[::1]:6004", "[::1]:5004")
	w.finWait2(t, v6, "[::1]:6005", "[::1]:5004")
	w.established(t, v6, "[::1]:6006", "[::1]:5004")
	testnet.As(t, otherUser, func() {
		w.synRecv(t, "127.0.0.1:6007", "127.0.0.1:5007")
		w.waiting(t, "127.0.0.1:6008", "127.0.0.1:5008")
	})
	w.listen(t, "tcp4", "127.0.0.1:5010", func(fd int) error { return unix.BindToDevice(fd, "lo") })

	f := descriptor(t, unix.AF_INET, unix.SOCK_STREAM)
	control(t, f, func(fd int) {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 5006, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
	})
	w.fill(t, f, socket("tcp", Bound, "127.0.0.1:5006", ""))
}

// descriptor opens a socket.
func descriptor(t testing.TB, family, kind int) *os.File {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { f.Close() })
	return f
}

// socket returns the socket with these addresses, of the family of the first.
func socket(network string, state State, local, remote string) Socket {
	s := Socket{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, State: state, Local: netip.MustParseAddrPort(local)}
	if network[:3] == "udp" {
		s.Protocol = unix.IPPROTO_UDP
	}
	any := netip.IPv4Unspecified()
	if s.Local.Addr().Is6() {
		s.Family, any = unix.AF_INET6, netip.IPv6Unspecified()
	}
	s.Remote = netip.AddrPortFrom(any, 0)
	if remote != "" {
		s.Remote = netip.MustParseAddrPort(remote)
	}
	return s
}

func (w *truth) listen(t testing.TB, network, address string, option func(fd int) error) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if option != nil {
			c.Control(func(fd uintptr) { err = option(int(fd)) })
		}
		return err
	}}
	config.SetMultipathTCP(false)
	ln, err := config.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	w.fill(t, ln.(*net.TCPListener), socket(network, Listen, address, ""))
	return ln.(*net.TCPListener)
}

func dial(t testing.TB, from, to string) *net.TCPConn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	dialer.SetMultipathTCP(false)
	client, err := dialer.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client.(*net.TCPConn)
}

func accept(t testing.TB, ln *net.TCPListener) *net.TCPConn {
	t.Helper()
	server, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// established leaves both ends open. The client has bytes to read.
func (w *truth) established(t testing.TB, ln *net.TCPListener, from, to string) {
	t.Helper()
	client, server := dial(t, from, to), accept(t, ln)
	if _, err := server.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	s := socket("tcp", Established, from, to)
	s.Queue = 6
	w.fill(t, client, s)
	s = socket("tcp", Established, to, from)
	if ln.Addr().(*net.TCPAddr).AddrPort().Addr().Is6() {
		s.Family = unix.AF_INET6 // and mapped, if the addresses are IPv4's
	}
	w.fill(t, server, s)
}

// left adds a connection without a descriptor, which c was.
func (w *truth) left(t testing.TB, c syscall.Conn, s Socket) {
	t.Helper()
	if c != nil {
		control(t, c, func(fd int) { s.Cookie = cookie(fd) })
	}
	w.Sockets = append(w.Sockets, s)
}

func (w *truth) timeWait(t testing.TB, ln *net.TCPListener, from, to string) {
	t.Helper()
	client, server := dial(t, from, to), accept(t, ln)
	w.left(t, server, socket("tcp", TimeWait, to, from))
	server.Close()
	client.Close()
	testnet.See(t, client.RemoteAddr(), client.LocalAddr(), testnet.TimeWait)
}

func (w *truth) finWait2(t testing.TB, ln *net.TCPListener, from, to string) {
	t.Helper()
	client, server := dial(t, from, to), accept(t, ln)
	w.left(t, server, socket("tcp", FinWait2, to, from))
	server.Close()
	testnet.See(t, client.RemoteAddr(), client.LocalAddr(), testnet.FinWait2)
	testnet.See(t, client.LocalAddr(), client.RemoteAddr(), testnet.CloseWait)
	s := socket("tcp", CloseWait, from, to)
	s.Queue = 1 // the end
	w.fill(t, client, s)
}

// synRecv leaves a handshake that waits for the client's first data.
func (w *truth) synRecv(t testing.TB, from, to string) {
	t.Helper()
	w.listen(t, "tcp4", to, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
	})
	w.fill(t, dial(t, from, to), socket("tcp", Established, from, to))
	w.left(t, nil, socket("tcp", SynRecv, to, from))
}

// waiting leaves a connection that nobody has accepted.
func (w *truth) waiting(t testing.TB, from, to string) {
	t.Helper()
	w.listen(t, "tcp4", to, nil)
	w.Sockets[len(w.Sockets)-1].Queue = 1
	w.fill(t, dial(t, from, to), socket("tcp", Established, from, to))
	w.left(t, nil, socket("tcp", Established, to, from))
}

func (w *truth) udp(t testing.TB) {
	t.Helper()
	open := func(network, local, remote string) *net.UDPConn {
		t.Helper()
		laddr := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local))
		var conn *net.UDPConn
		var err error
		state := Close
		if remote == "" {
			conn, err = net.ListenUDP(network, laddr)
		} else {
			state = Established
			conn, err = net.DialUDP(network, laddr, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(remote)))
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		w.fill(t, conn, socket("udp", state, local, remote))
		return conn
	}
	open("udp", "127.0.0.1:5001", "")
	connected := open("udp", "127.0.0.1:5005", "127.0.0.1:5001")
	open("udp", "[::1]:5004", "")
	open("udp", "[::1]:5005", "[::1]:5004")
	open("udp", "[::]:5011", "")
	open("udp6", "[::]:5012", "")
	if _, err := connected.Write([]byte("unread")); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(w.Sockets, func(s Socket) bool { return s.Protocol == unix.IPPROTO_UDP })
	w.Sockets[i].Queue = 1
}
