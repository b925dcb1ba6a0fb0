package group

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// deferring makes a listener leave connections among the handshakes until data
// comes.
func deferring(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
}

// handshakes returns the local ports of the handshakes that groups of socks may
// have.
func handshakes(t *testing.T, diag *sockdiag.Conn, socks ...*member) (Handshakes, []uint16) {
	t.Helper()
	var plain []*Socket
	for _, m := range socks {
		plain = append(plain, m.Socket)
	}
	found, err := LookHandshakes(t.Context(), diag, plain, func(cookie uint64) bool {
		return slices.Contains(cookies(socks), cookie)
	})
	if err != nil {
		t.Fatal(err)
	}
	var ports []uint16
	for _, h := range found {
		ports = append(ports, h.Local.Port())
	}
	slices.Sort(ports)
	return found, ports
}

// begin connects to an address, and returns when the server has answered.
func begin(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// The handshakes at the addresses of listeners are found, and those of others are
// not.
func TestHandshakes(t *testing.T) {
	for i, test := range []struct{ network, address, client, other string }{
		{"tcp4", "127.0.0.1:9999", "127.0.0.1:9999", "127.0.0.2:9999"},
		{"tcp4", "0.0.0.0:9999", "127.0.0.7:9999", "127.0.0.1:9998"},
		{"tcp6", "[::1]:9999", "[::1]:9999", "[::1]:9998"},
		{"tcp6", "[::]:9999", "[::1]:9999", "[::1]:9998"},
		{"tcp", ":9999", "127.0.0.1:9999", "127.0.0.1:9998"},
		{"tcp", ":9999", "[::1]:9999", "[::1]:9998"},
	} {
		testnet.Namespace(t)
		diag := diagConn(t)
		// The kernel takes a second to forget handshakes of closed listeners.
		ports := strings.NewReplacer("9999", fmt.Sprint(9100+2*i), "9998", fmt.Sprint(9101+2*i))
		test.address, test.client, test.other = ports.Replace(test.address), ports.Replace(test.client), ports.Replace(test.other)
		m, other := open(t, test.network, test.address, deferring), open(t, "tcp", test.other, deferring)
		if found, _ := handshakes(t, diag, m); len(found) != 0 {
			t.Errorf("%v: none began, and %v", test, found)
		}
		conns := []net.Conn{begin(t, "tcp", test.client), begin(t, "tcp", test.client), begin(t, "tcp", test.client)}
		begin(t, "tcp", test.other)
		found, _ := handshakes(t, diag, m)
		if len(found) != len(conns) {
			t.Errorf("%v: %v, want %d", test, found, len(conns))
		}
		for _, h := range found {
			if !slices.ContainsFunc(conns, func(c net.Conn) bool {
				return c.LocalAddr().(*net.TCPAddr).AddrPort().Port() == h.Remote.Port()
			}) {
				t.Errorf("%v: %v is not there", test, h)
			}
		}
		if both, _ := handshakes(t, diag, m, other); len(both) != len(conns)+1 {
			t.Errorf("%v: with the other: %v", test, both)
		}
		if pending, err := found.Pending(t.Context(), diag); err != nil || len(pending) != len(found) {
			t.Errorf("%v: pending: %v, %v", test, pending, err)
		}
		// One ends well; one is given up.
		if _, err := conns[0].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		conns[1].(*net.TCPConn).SetLinger(0)
		conns[1].Close()
		left := pendingOf(t, diag, found, 1)
		if port := conns[2].LocalAddr().(*net.TCPAddr).Port; len(left) == 1 && int(left[0].Remote.Port()) != port {
			t.Errorf("%v: pending: %v, want port %d", test, left, port)
		}
		// A new one is not of those.
		begin(t, "tcp", test.client)
		if left := pendingOf(t, diag, found, 1); len(left) != 1 {
			t.Errorf("%v: pending: %v", test, left)
		}
		m.close()
		other.close()
	}
	if pending, err := (Handshakes)(nil).Pending(t.Context(), nil); len(pending) > 0 || err != nil {
		t.Error(pending, err)
	}
}

// pendingOf returns the handshakes that are left when no more than n are: the kernel
// may take what was sent a moment later.
func pendingOf(t *testing.T, diag *sockdiag.Conn, all Handshakes, n int) Handshakes {
	t.Helper()
	for deadline := time.Now().Add(testnet.Slow(10 * time.Second)); ; runtime.Gosched() {
		left, err := all.Pending(t.Context(), diag)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) <= n {
			return left
		}
		if time.Now().After(deadline) {
			t.Fatalf("still pending: %v", left)
		}
	}
}

// A dead client's handshake is found as well: it sent a SYN, and does not answer.
func TestHandshakesDead(t *testing.T) {
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	diag := diagConn(t)
	m := open(t, "tcp4", "127.0.0.1:9999")
	const port = 40000
	raw := rawClient(t)
	raw(port, flagSYN)
	found, _ := handshakes(t, diag, m)
	for deadline := time.Now().Add(testnet.Slow(10 * time.Second)); len(found) == 0 && time.Now().Before(deadline); {
		found, _ = handshakes(t, diag, m)
	}
	if len(found) != 1 || found[0].Remote.Port() != port {
		t.Fatalf("%v, want port %d", found, port)
	}
	if pending, err := found.Pending(t.Context(), diag); err != nil || len(pending) != 1 {
		t.Errorf("pending: %v, %v", pending, err)
	}
	raw(port, flagRST)
	if left := pendingOf(t, diag, found, 0); len(left) != 0 {
		t.Errorf("reset: pending: %v", left)
	}
}

const (
	flagSYN = 2
	flagRST = 4
)

// rawClient returns a function that sends a TCP segment to 127.0.0.1:9999 from an
// address that nobody has. A client of this host would answer with a reset.
func rawClient(t *testing.T) func(port uint16, flags byte) {
	t.Helper()
	source, target := [4]byte{192, 0, 2, 1}, [4]byte{127, 0, 0, 1}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1); err != nil {
		t.Fatal(err)
	}
	// What is sent to it goes out by lo, and is not received there.
	address := func(a [4]byte) unix.RawSockaddrInet4 {
		return unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a}
	}
	device := [...]byte{'l', 'o', 0}
	route := struct { // struct rtentry
		_                     uintptr
		target, gateway, mask unix.RawSockaddrInet4
		flags, _              uint16
		_                     uintptr
		_                     uintptr
		metric                uint16
		device                *byte
		mtu, window           uintptr
		rtt                   uint16
	}{target: address(source), mask: address([4]byte{255, 255, 255, 255}), flags: unix.RTF_UP | unix.RTF_HOST, device: &device[0]}
	if err := ioctl(fd, unix.SIOCADDRT, &route); err != nil {
		t.Fatal(os.NewSyscallError("ioctl SIOCADDRT", err))
	}
	return func(port uint16, flags byte) {
		t.Helper()
		packet := make([]byte, 40)
		packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_TCP
		copy(packet[12:], source[:])
		copy(packet[16:], target[:])
		tcp := packet[20:]
		tcp[0], tcp[1] = byte(port>>8), byte(port)
		tcp[2], tcp[3] = 9999>>8, 9999&255
		tcp[12], tcp[13], tcp[14] = 5<<4, flags, 0x10
		if flags == flagRST {
			tcp[7] = 1 // behind the SYN
		}
		sum := uint32(unix.IPPROTO_TCP) + 20
		for _, b := range [][]byte{packet[12:20], tcp} {
			for i := 0; i < len(b); i += 2 {
				sum += uint32(b[i])<<8 | uint32(b[i+1])
			}
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		tcp[16], tcp[17] = byte(^sum>>8), byte(^sum)
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: target}); err != nil {
			t.Fatal(err)
		}
	}
}

// A program of the network namespace sends connections to another port to the
// listener.
func TestHandshakesSkLookup(t *testing.T) {
	testnet.NeedRoot(t)
	for _, test := range []struct{ network, address, client, other string }{
		{"tcp4", "127.0.0.1:9999", "127.0.0.1:7777", "127.0.0.1:7778"},
		{"tcp6", "[::1]:9999", "[::1]:7777", "[::1]:7778"},
		{"tcp", ":9999", "127.0.0.1:7777", "127.0.0.1:7778"},
	} {
		testnet.Namespace(t)
		diag := diagConn(t)
		members := group(t, 2, test.network, test.address, deferring)
		other := open(t, "tcp", test.other, deferring)
		if conn, err := net.Dial("tcp", test.client); err == nil {
			conn.Close()
			t.Fatalf("the control: somebody is at %s", test.client)
		}
		skLookup(t, members[0], 7777)
		own := strings.Replace(test.client, "7777", "9999", 1)
		for _, address := range []string{test.client, test.client, test.other, own} {
			begin(t, "tcp", address)
		}
		if _, ports := handshakes(t, diag, members...); !slices.Equal(ports, []uint16{7777, 7777, 9999}) {
			t.Errorf("%v: handshakes at %d", test, ports)
		}
		if _, ports := handshakes(t, diag, other); !slices.Equal(ports, []uint16{7778}) {
			t.Errorf("%v: the control: another's are at %d", test, ports)
		}
		closeAll(append(members, other))
	}
}

// skLookup sends connections to a port of the calling thread's namespace to the
// listener m, or its group.
func skLookup(t *testing.T, m *member, port int32) {
	t.Helper()
	closeLater := func(fd int) int {
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	sockets := closeLater(bpf(t, unix.BPF_MAP_CREATE, &struct{ kind, key, value, entries uint32 }{unix.BPF_MAP_TYPE_SOCKMAP, 4, 8, 1}))
	var key uint32
	var value uint64
	if err := control(m, func(fd int) error { value = uint64(fd); return nil }); err != nil {
		t.Fatal(err)
	}
	bpf(t, unix.BPF_MAP_UPDATE_ELEM, &struct {
		fd, _      uint32
		key, value uint64
		flags      uint64
	}{fd: uint32(sockets), key: pointer(&key), value: pointer(&value)})
	const (
		move, moveK, store, load32 = 0xbf, 0xb7, 0x62, 0x61
		addK, jumpIf, jumpUnless   = 0x07, 0x15, 0x55
		call, exit, loadMap        = 0x85, 0x95, 0x18
		lookup, assign, release    = 1, 124, 86
		localPort                  = 60 // in struct bpf_sk_lookup
	)
	program := []instruction{
		{op: move, registers: regs(6, 1)},
		{op: load32, registers: regs(2, 6), offset: localPort},
		{op: jumpUnless, registers: regs(2, 0), offset: 14, k: port},
		{op: store, registers: regs(10, 0), offset: -4},
		{op: loadMap, registers: regs(1, 1), k: int32(sockets)}, {}, // BPF_PSEUDO_MAP_FD
		{op: move, registers: regs(2, 10)},
		{op: addK, registers: regs(2, 0), k: -4},
		{op: call, k: lookup},
		{op: jumpIf, registers: regs(0, 0), offset: 7},
		{op: move, registers: regs(7, 0)},
		{op: move, registers: regs(1, 6)},
		{op: move, registers: regs(2, 7)},
		{op: moveK, registers: regs(3, 0)},
		{op: call, k: assign},
		{op: move, registers: regs(1, 7)},
		{op: call, k: release},
		{op: moveK, registers: regs(0, 0), k: 1}, // SK_PASS
		{op: exit},
	}
	license := []byte("GPL\x00")
	const skLookup = 30 // BPF_PROG_TYPE_SK_LOOKUP
	loaded := closeLater(bpf(t, unix.BPF_PROG_LOAD, &struct {
		kind, length     uint32
		program, license uint64
		level, size      uint32
		log              uint64
		version, flags   uint32
		name             [16]byte
		device, attach   uint32
	}{kind: skLookup, length: uint32(len(program)), program: pointer(&program[0]), license: pointer(&license[0]), attach: unix.BPF_SK_LOOKUP}))
	ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	closeLater(bpf(t, unix.BPF_LINK_CREATE, &struct{ program, target, attach, flags uint32 }{
		uint32(loaded), uint32(ns), unix.BPF_SK_LOOKUP, 0,
	}))
	runtime.KeepAlive(program)
	runtime.KeepAlive(license)
}

// An instruction is a struct bpf_insn.
type instruction struct {
	op, registers uint8
	offset        int16
	k             int32
}

// regs returns the registers of an instruction: bit fields.
func regs(target, source uint8) uint8 {
	if testnet.LowWord() != 0 { // big endian
		return target<<4 | source
	}
	return source<<4 | target
}

func pointer[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// bpf calls bpf(2).
func bpf[T any](t *testing.T, command int, attr *T) int {
	t.Helper()
	n, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(command), uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
	if errno != 0 {
		t.Fatal(fmt.Errorf("bpf command %d: %w", command, errno))
	}
	return int(n)
}

// A socket with IP_TRANSPARENT may get connections to any address and port.
func TestHandshakesTransparent(t *testing.T) {
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	diag := diagConn(t)
	transparent := func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1) }
	plain, m := open(t, "tcp4", "127.0.0.1:9998"), open(t, "tcp4", "127.0.0.1:9999", transparent)
	open(t, "tcp4", "127.0.0.1:7777", deferring)
	begin(t, "tcp", "127.0.0.1:7777")
	if _, ports := handshakes(t, diag, m); !slices.Equal(ports, []uint16{7777}) {
		t.Errorf("handshakes at %d", ports)
	}
	if _, ports := handshakes(t, diag, plain); len(ports) != 0 {
		t.Errorf("the control: without the option, handshakes at %d", ports)
	}
	m.close()
	if _, err := LookHandshakes(t.Context(), diag, []*Socket{m.Socket}, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := LookHandshakes(ctx, diag, []*Socket{plain.Socket}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
