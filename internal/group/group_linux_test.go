package group

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Main(m, nil) }

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
	} else {
		var pc net.PacketConn
		if pc, err = reuse.Port.ListenConfig().ListenPacket(context.Background(), network, address); err == nil {
			m.PacketConn, conn = pc, pc.(syscall.Conn)
		}
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

func (m *member) members(t testing.TB, diag *sockdiag.Conn) Members {
	t.Helper()
	dump, err := Look(t.Context(), diag, m.Socket)
	if err != nil {
		t.Fatal(err)
	}
	members, err := dump.Members(m.Socket)
	if err != nil {
		t.Fatal(err)
	}
	return members
}

var _ = os.Getpid
