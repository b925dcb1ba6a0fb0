package group

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func(args []string) error{"claim": claim})
}

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

// open opens a member, whose descriptor prepare gets before bind.
func open(t testing.TB, network, address string, prepare ...func(fd int) error) *member {
	t.Helper()
	m, err := openMember(network, address, prepare...)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs what Open needs: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

func openMember(network, address string, prepare ...func(fd int) error) (*member, error) {
	m := &member{}
	config := reuse.Port.ListenConfig()
	config.SetMultipathTCP(false)
	hook := config.Control
	config.Control = func(network, address string, c syscall.RawConn) error {
		err := hook(network, address, c)
		for _, f := range prepare {
			err = errors.Join(err, control(c, f))
		}
		return err
	}
	var err error
	var conn syscall.Conn
	if network[0] == 't' {
		if m.Listener, err = config.Listen(context.Background(), network, address); err == nil {
			conn = m.Listener.(syscall.Conn)
		}
	} else if m.PacketConn, err = config.ListenPacket(context.Background(), network, address); err == nil {
		conn = m.PacketConn.(syscall.Conn)
	}
	if err != nil {
		return nil, err
	}
	c, err := conn.SyscallConn()
	if err == nil {
		m.Socket, err = Open(c)
	}
	if err != nil {
		m.close()
	}
	return m, err
}

// group opens n members.
func group(t testing.TB, n int, network, address string, prepare ...func(fd int) error) []*member {
	t.Helper()
	var members []*member
	for range n {
		members = append(members, open(t, network, address, prepare...))
	}
	return members
}

func closeAll(members []*member) {
	for _, m := range members {
		m.close()
	}
}

// onDevice binds a socket to a device.
func onDevice(index int) func(fd int) error {
	return func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index) }
}

const lo = 1 // the index of lo in every namespace

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

func (m *member) slots(t testing.TB, diag *sockdiag.Conn) ([]uint64, error) {
	t.Helper()
	return m.Slots(t.Context(), diag, m.members(t, diag))
}

func cookies(members []*member) []uint64 {
	var all []uint64
	for _, m := range members {
		all = append(all, m.Cookie)
	}
	return all
}

// arrived returns when one of the members is readable, or after a time in which one
// should be: a busy kernel delivers what was sent to itself a moment later
// (ksoftirqd).
func arrived(members []*member) {
	for deadline := time.Now().Add(testnet.Slow(time.Second)); time.Now().Before(deadline); {
		for _, m := range members {
			if readable, err := m.Readable(); readable || err != nil {
				return
			}
		}
	}
}

// lands returns the member that gets a packet to m while m's group has a program.
func lands(m *member, members []*member, program []Instruction) (got *member, err error) {
	if err := m.Attach(program); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Detach()) }()
	conn, err := m.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		return nil, err
	}
	arrived(members)
	total := 0
	for _, m := range members {
		n, err := m.take()
		if err != nil {
			return nil, err
		}
		if n > 0 {
			got = m
		}
		total += n
	}
	if total != 1 {
		return nil, fmt.Errorf("%d members got one packet", total)
	}
	return got, nil
}

// take takes what waits in a member, and returns how many connections or whether a
// datagram did.
func (m *member) take() (n int, err error) {
	if m.PacketConn != nil {
		readable, err := m.Readable()
		if err != nil || !readable {
			return 0, err
		}
		_, _, err = m.ReadFrom(make([]byte, 9))
		return 1, err
	}
	n, err = m.Queue()
	for range n {
		conn, err := m.Listener.Accept()
		if err != nil {
			return n, err
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	return n, err
}

// chosen fails the test unless a program of the group chooses m.
func chosen(t testing.TB, m *member, members []*member, program []Instruction) {
	t.Helper()
	got, err := lands(m, members, program)
	if err != nil {
		t.Fatalf("%v: %v", m.Key, err)
	}
	if got != m {
		t.Fatalf("%v: another member is chosen", m.Key)
	}
}

// rounds is testnet.Times, of fewer on slow machines.
func rounds(n int) int { return max(testnet.Times(n)/testnet.Slowness(), 8) }
