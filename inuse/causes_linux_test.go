package inuse_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

func TestExplainPrivileged(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	p := testnet.Start(t, 65534, "explainer", "1", "tcp", "127.0.0.1:80")
	line := p.Line(t)
	if !strings.HasPrefix(line, "privileged 0 0 ") || !strings.Contains(line, "lower net.ipv4.ip_unprivileged_port_start to 80") {
		t.Errorf("%q", line)
	}
	testnet.Sysctl(t, "ip_unprivileged_port_start", "80")
	hold(t, 65534, "listen", "127.0.0.1:80", testnet.ReuseAddr)
}

func TestExplainNotLocal(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp", "udp"} {
		e := explained(t, failed(t, reuse.Addr, network, "192.0.2.1:9999"))
		wantCause(t, e, inuse.CauseNotLocal, 0)
		wantAdvice(t, e, "0.0.0.0", "127.0.0.1")
		listens(t, reuse.Addr, network, "0.0.0.0:9999")
		listens(t, reuse.Addr, network, "127.0.0.1:9999")
		e = explained(t, failed(t, reuse.Addr, network, "[2001:db8::1]:9999"))
		wantCause(t, e, inuse.CauseNotLocal, 0)
		wantAdvice(t, e, "::", "::1")
		listens(t, reuse.Addr, network, "[::1]:9999")
	}
}

// addAddress gives lo an IPv6 address, and returns when it can be used.
func addAddress(t testing.TB, addr netip.Addr) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("needs rtnetlink, which emulators do not have: %v", err)
	}
	request := struct { // struct in6_ifreq
		addr   [16]byte
		prefix uint32
		index  int32
	}{addr.As16(), 64, int32(lo.Index)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatal(errno)
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		pc, err := net.ListenPacket("udp6", netip.AddrPortFrom(addr.WithZone("lo"), 0).String())
		if err == nil {
			pc.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestExplainNoZone(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	addAddress(t, netip.MustParseAddr("fe80::1"))
	for _, network := range []string{"tcp", "udp"} {
		e := explained(t, failed(t, reuse.Addr, network, "[fe80::1]:9999"))
		wantCause(t, e, inuse.CauseNoZone, 0)
		wantAdvice(t, e, "fe80::1%lo")
		listens(t, reuse.Addr, network, "[fe80::1%lo]:9999")
	}
	// With its zone it is an address like others.
	p := hold(t, os.Getuid(), "listen", "[fe80::1%lo]:9999", testnet.NoOption)
	e := explained(t, failed(t, reuse.Addr, "tcp", "[fe80::1%lo]:9999"))
	wantCause(t, e, inuse.CauseListener, 1)
	p.Stop(t)
}

func TestExplainExhausted(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	testnet.Sysctl(t, "ip_local_port_range", "20000 20003")
	server, err := net.Listen("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var last net.Conn
	for range 4 {
		if last, err = net.Dial("tcp", "127.0.0.1:9000"); err != nil {
			t.Fatal(err)
		}
		defer last.Close()
	}
	_, err = net.Dial("tcp", "127.0.0.1:9000")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Fatal(err)
	}
	e := explained(t, err)
	wantCause(t, e, inuse.CauseExhausted, 0)
	wantAdvice(t, e, "4 of the 4 ports", "20000 to 20003", "to 127.0.0.1:9000", "widen the range")
	_, err = net.Listen("tcp4", ":0")
	e = explained(t, err)
	wantCause(t, e, inuse.CauseExhausted, 0)
	wantAdvice(t, e, "4 of the 4 ports")
	testnet.Sysctl(t, "ip_local_port_range", "20000 20007")
	conn, err := net.Dial("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal("the advice does not help: ", err)
	}
	conn.Close()
}

// The ports may be free again by the time it is explained.
func TestExplainExhaustedNoLonger(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	testnet.Sysctl(t, "ip_local_port_range", "20000 20003")
	server, err := net.Listen("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var conns []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", "127.0.0.1:9000")
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	_, exhausted := net.Dial("tcp", "127.0.0.1:9000")
	for _, conn := range conns {
		conn.(*net.TCPConn).SetLinger(0) // which leaves no TIME_WAIT
		conn.Close()
	}
	e := explained(t, exhausted)
	wantCause(t, e, inuse.CauseFree, 0)
	wantAdvice(t, e, "try again", "0 of the 4 ports")
	conn, err := net.Dial("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal("the advice does not help: ", err)
	}
	conn.Close()
}

// From one address and port to one address and port there is one connection.
func TestExplainSameConnection(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	server, err := net.Listen("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9999}, Control: reuse.Addr.Control}
	first, err := dialer.Dial("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	_, err = dialer.Dial("tcp", "127.0.0.1:9000")
	e := explained(t, err)
	wantCause(t, e, inuse.CauseOutgoing, 1)
	wantAdvice(t, e, "dial from another port")
	if h := e.Holders[0]; h.Remote.String() != "127.0.0.1:9000" || h.State != "ESTABLISHED" {
		t.Errorf("holder %+v", h)
	}
	dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9998}
	second, err := dialer.Dial("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal("the advice does not help: ", err)
	}
	first.Close()
	second.Close()
}

// Errors that are not about addresses come back as they are, at no cost.
func TestExplainUnchanged(t *testing.T) {
	testnet.NeedTables(t)
	_, notListening := net.Dial("tcp", "127.0.0.1:1")
	_, noHost := net.Listen("tcp", "127.0.0.1:x")
	_, noNetwork := net.Listen("tcq", "127.0.0.1:1")
	_, noDirectory := net.Listen("unix", "/nonexistent/x.socket")
	for _, err := range []error{
		nil, io.EOF, os.ErrNotExist, syscall.EADDRINUSE, notListening, noHost, noNetwork, noDirectory,
		&net.OpError{Op: "read", Net: "tcp", Err: syscall.EADDRINUSE},
		&net.OpError{Op: "listen", Net: "tcp", Err: syscall.EMFILE},
		&net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}, // of no address
		&net.OpError{Op: "listen", Net: "tcp", Addr: (*net.TCPAddr)(nil), Err: syscall.EADDRINUSE},
		&net.OpError{Op: "listen", Net: "ip4:1", Addr: &net.IPAddr{}, Err: syscall.EADDRNOTAVAIL},
		&net.OpError{Op: "listen", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 65000}, Err: os.NewSyscallError("bind", syscall.EACCES)},
		&net.OpError{Op: "listen", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 65000}, Err: os.NewSyscallError("bind", syscall.EINVAL)},
	} {
		if got := inuse.Explain(err); got != err {
			t.Errorf("Explain(%v) = %v", err, got)
		}
		if _, about := errors.AsType[syscall.Errno](err); about {
			continue
		}
		if n := testing.AllocsPerRun(100, func() { inuse.Explain(err) }); n > 2 {
			t.Errorf("Explain(%v) allocates %v times", err, n)
		}
	}
}

// Explain takes none of the datagrams and connections of those who share a port.
func TestExplainDisturbsNobody(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	const times = 20
	pc, err := reuse.Port.ListenPacket("udp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	ln, err := reuse.Port.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	inUse := failed(t, reuse.Addr, "udp", "127.0.0.1:9999")
	tcpInUse := failed(t, reuse.Addr, "tcp", "127.0.0.1:9999")
	stop := make(chan struct{})
	done := make(chan struct{})
	descriptors := testnet.Descriptors(t)
	go func() {
		defer close(done)
		// The namespace is the thread's; sockets are made on it only.
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				buf := make([]byte, 1)
				if _, _, err := pc.ReadFrom(buf); err != nil {
					return
				}
			}
		}
	}()
	received := 0
	for range times {
		client, err := net.Dial("udp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		inuse.Explain(inUse)
		inuse.Explain(tcpInUse)
		if _, err := client.Write([]byte("x")); err == nil {
			received++
		}
		client.Close()
		conn, err := net.Dial("tcp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if accepted.RemoteAddr().String() != conn.LocalAddr().String() {
			t.Error("another connection was accepted")
		}
		accepted.Close()
		conn.Close()
	}
	close(stop)
	pc.Close()
	<-done
	ln.Close()
	if received != times {
		t.Errorf("%d of %d datagrams were sent: the others met a closed port", received, times)
	}
	if now := testnet.Descriptors(t); now > descriptors {
		t.Errorf("%d descriptors before, %d after", descriptors, now)
	}
}
