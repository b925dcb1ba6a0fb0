package testnet

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A State is that of a TCP socket, with the kernel's numbers.
type State uint8

// The states of include/net/tcp_states.h that a listener, a handshake and an accepted
// connection can have.
const (
	Gone        State = 0 // not the kernel's: there is no such socket
	Established State = 1
	SynReceived State = 3
	FinWait1    State = 4
	FinWait2    State = 5
	TimeWait    State = 6
	CloseWait   State = 8
	LastAck     State = 9
	Listen      State = 10
	Closing     State = 11
)

// States are all states in which an accepted connection can outlive its
// listener.
var States = []State{Established, FinWait1, FinWait2, TimeWait, CloseWait, LastAck, Closing}

func (s State) String() string {
	switch s {
	case Gone:
		return "gone"
	case Established:
		return "ESTABLISHED"
	case SynReceived:
		return "SYN_RECV"
	case FinWait1:
		return "FIN_WAIT1"
	case FinWait2:
		return "FIN_WAIT2"
	case TimeWait:
		return "TIME_WAIT"
	case CloseWait:
		return "CLOSE_WAIT"
	case LastAck:
		return "LAST_ACK"
	case Listen:
		return "LISTEN"
	case Closing:
		return "CLOSING"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Leave accepts a connection from ln, closes ln, brings the connection's server
// side into state, and returns when the kernel shows it there. dial is the
// address to connect to: ln's, or one that ln's covers.
func Leave(t testing.TB, ln net.Listener, dial string, state State) {
	t.Helper()
	NeedTables(t)
	// A small window, so that the server side can have data it cannot send.
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048)
		})
	}}
	conn, err := dialer.Dial("tcp", dial)
	if err != nil {
		t.Fatal(err)
	}
	client := conn.(*net.TCPConn)
	t.Cleanup(func() { client.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := accepted.(*net.TCPConn)
	t.Cleanup(func() { server.Close() })
	ln.Close()

	switch state {
	case Established:
	case FinWait1: // the FIN waits behind the data
		fill(t, server)
		server.Close()
	case FinWait2:
		server.Close()
	case TimeWait:
		server.Close()
		client.Close()
	case CloseWait:
		client.Close()
	case LastAck:
		fill(t, server)
		client.CloseWrite()
		See(t, client.RemoteAddr(), client.LocalAddr(), CloseWait)
		server.Close()
	case Closing: // both close, and neither sees the other's acknowledgment
		fill(t, server)
		server.Close()
		client.CloseWrite()
	default:
		t.Fatalf("cannot leave a connection in %v", state)
	}
	See(t, client.RemoteAddr(), client.LocalAddr(), state)
}

// fill writes to conn until nothing more fits in.
func fill(t testing.TB, conn *net.TCPConn) {
	t.Helper()
	conn.SetWriteBuffer(4096)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64<<10)
	raw.Control(func(fd uintptr) {
		for err == nil {
			_, err = unix.Write(int(fd), data)
		}
	})
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
}

// See returns when the connection from local to remote is in state. The kernel
// changes it while the other side's system call runs, or just after.
//
// It goes by the two ports. An emulator of another architecture shows the
// host's addresses, in the host's byte order.
func See(t testing.TB, local, remote net.Addr, state State) {
	t.Helper()
	var got []Socket
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		got = got[:0]
		for _, s := range Sockets(t) {
			if s.Local.Port() == port(local) && s.Remote.Port() == port(remote) {
				got = append(got, s)
			}
		}
		if len(got) > 1 { // there is one of the other IP version, too
			got = slices.DeleteFunc(got, func(s Socket) bool {
				return s.Local.Addr().Unmap().Is4() != (local.(*net.TCPAddr).IP.To4() != nil)
			})
		}
		if len(got) == 1 && got[0].State == state || len(got) == 0 && state == Gone {
			return
		}
	}
	t.Fatalf("connection %v - %v is not in %v but %v", local, remote, state, got)
}

func port(addr net.Addr) uint16 { return addr.(*net.TCPAddr).AddrPort().Port() }

// A Socket is a line of /proc/net/tcp or tcp6. IPv4-mapped addresses are
// unmapped.
type Socket struct {
	Local, Remote netip.AddrPort
	State         State
	Waiting       int // bytes to be read; for a listener, connections to be accepted
}

// Sockets returns the TCP sockets of the calling thread's network namespace.
func Sockets(t testing.TB) []Socket {
	t.Helper()
	var sockets []Socket
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if os.IsNotExist(err) {
			continue // no IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Scan() // the heading
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			local, err1 := parseAddr(fields[1])
			remote, err2 := parseAddr(fields[2])
			state, err3 := strconv.ParseUint(fields[3], 16, 8)
			_, received, _ := strings.Cut(fields[4], ":")
			waiting, err4 := strconv.ParseUint(received, 16, 32)
			if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
				t.Fatalf("%s: %q", f.Name(), lines.Text())
			}
			sockets = append(sockets, Socket{local, remote, State(state), int(waiting)})
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return sockets
}

// NeedTables skips the test where procfs does not list all sockets: gVisor leaves
// out those of UDP over IPv6, and connections in TIME_WAIT.
func NeedTables(t testing.TB) {
	t.Helper()
	pc, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	tables := ""
	for _, name := range []string{"udp", "udp6"} {
		table, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		tables += string(table)
	}
	if port := fmt.Sprintf(":%04X ", pc.LocalAddr().(*net.UDPAddr).Port); !strings.Contains(tables, port) {
		t.Skip("needs a kernel whose procfs lists all sockets")
	}
}

// parseAddr reads an address as the kernel prints it: 32-bit words in the
// host's byte order, then the port.
func parseAddr(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	words, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip := make([]byte, len(words))
	for i := 0; i+4 <= len(words); i += 4 {
		binary.NativeEndian.PutUint32(ip[i:], binary.BigEndian.Uint32(words[i:]))
	}
	addr, ok := netip.AddrFromSlice(ip)
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("not an address: %q", s)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}
