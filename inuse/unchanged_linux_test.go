package inuse_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
)

// TestExplainUnchanged: errors that are not about addresses come back as they are, at no
// cost.
func TestExplainUnchanged(t *testing.T) {
	testnet.NeedTables(t)
	_, notListening := net.Dial("tcp", "127.0.0.1:1")
	_, noHost := net.Listen("tcp", "127.0.0.1:x")
	_, noNetwork := net.Listen("tcq", "127.0.0.1:1")
	_, noServer := net.Dial("unix", "/nonexistent/x.socket")
	own := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "own"), Net: "unix"}
	_, noServerOfOwn := net.DialUnix("unix", own, &net.UnixAddr{Name: "/nonexistent/x.socket", Net: "unix"})
	_, broadcast := net.Dial("udp", "255.255.255.255:9")
	tcp := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 65000}
	for _, err := range []error{
		nil, io.EOF, os.ErrNotExist, syscall.EADDRINUSE, notListening, noHost, noNetwork, noServer, noServerOfOwn, broadcast,
		&net.OpError{Op: "read", Net: "tcp", Err: syscall.EADDRINUSE},
		&net.OpError{Op: "listen", Net: "tcp", Err: syscall.EMFILE},
		&net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}, // of no address
		&net.OpError{Op: "listen", Net: "tcp", Addr: (*net.TCPAddr)(nil), Err: syscall.EADDRINUSE},
		&net.OpError{Op: "listen", Net: "ip4:1", Addr: &net.IPAddr{}, Err: syscall.EADDRNOTAVAIL},
		&net.OpError{Op: "listen", Net: "tcp", Addr: tcp, Err: os.NewSyscallError("bind", syscall.EINVAL)},
		&net.OpError{Op: "listen", Net: "tcp", Addr: tcp, Err: os.NewSyscallError("bind", syscall.ENOENT)},
		&net.OpError{Op: "listen", Net: "tcp", Addr: tcp, Err: os.NewSyscallError("setsockopt", syscall.ENODEV)}, // of a device
		&net.OpError{Op: "listen", Net: "tcp", Addr: tcp, Err: os.NewSyscallError("setsockopt", syscall.EPERM)},
		&net.OpError{Op: "dial", Net: "tcp", Addr: tcp, Err: os.NewSyscallError("connect", syscall.EPERM)}, // of a firewall
		&net.OpError{Op: "dial", Net: "tcp", Addr: tcp, Err: os.NewSyscallError("connect", syscall.EACCES)},
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

// TestExplainDisturbsNobody: Explain takes none of the datagrams and connections of those who
// share a port.
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
