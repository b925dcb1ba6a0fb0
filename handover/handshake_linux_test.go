package handover_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A handshake that does not end is not given up: the client may be slow. It
// belongs to the drained listener if that was alone when it began.
func TestPendingHandshake(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	server := start(t, os.Getuid(), "serve", "-net", "tcp4", "-addr", ":9999")
	synFrom(t, 40000)
	next := start(t, os.Getuid(), "serve", "-net", "tcp4", "-addr", ":9999")
	server.tell(t, "drain")
	steered(t, next)
	server.tell(t, "cancel")
	if line := server.expect(t, "ended"); !strings.Contains(line, " 1 handshakes under way") {
		t.Errorf("%q does not tell what was left", line)
	}
	steered(t, next)
}

// Dead clients' handshakes are told by their number, and how often they were answered.
// To wait for many costs a Drain no more system calls than to wait for one.
func TestDeadHandshakes(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	testnet.NeedArguments(t)
	testnet.Namespace(t)
	needDrain(t)
	const n = 500
	server := startStepped(t, "Listen", unix.SIGKILL, 0, "drain", ":9999")
	if line := server.expect(t, "listening", "unable"); strings.HasPrefix(line, "unable") {
		t.Skipf("needs seccomp's notifications: %s", line)
	}
	ports := make([]uint16, n)
	for i := range ports {
		ports[i] = uint16(20000 + i)
	}
	synFrom(t, ports...)
	next := start(t, ordinary(), "serve", "-net", "tcp4", "-addr", ":9999")
	server.tell(t, "drain")
	steered(t, next)
	calls := func() (n int) {
		server.tell(t, "count")
		if _, err := fmt.Sscanf(server.expect(t, "calls"), "calls %d", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	begin, before := time.Now(), calls()
	after := before
	for after == before && time.Since(begin) < guard {
		shares(t, addr)
		after = calls()
	}
	// It looks every 5 ms at most, if it is done in no time, and asks for the members,
	// for the handshakes and for the queue.
	looks := 2 + int(time.Since(begin)/(5*time.Millisecond))
	t.Logf("%d calls in %v", after-before, time.Since(begin))
	if after-before > 4*looks || after == before {
		t.Errorf("%d calls for %d looks at most", after-before, looks)
	}
	server.tell(t, "cancel")
	line := server.expect(t, "ended")
	var got, times int
	var lasted string
	_, tail, _ := strings.Cut(line, "handover of 0.0.0.0:9999: ")
	if _, err := fmt.Sscanf(tail, "%d handshakes under way for %s or longer, one of them answered %d times", &got, &lasted, &times); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if d, err := time.ParseDuration(lasted); err != nil || d <= 0 || d > time.Since(begin)+guard {
		t.Errorf("%q: %v", line, err)
	}
	if got != n || times < 1 || times > 6 {
		t.Errorf("%q, want %d handshakes", line, n)
	}
}

// synFrom sends SYNs to the server, and drops what comes back.
func synFrom(t testing.TB, ports ...uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// From an address that nobody has: one of the host would answer with a
	// reset.
	source, target := [4]byte{192, 0, 2, 1}, [4]byte{198, 51, 100, 1}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_HDRINCL, 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"all", "lo", "default"} {
		testnet.Sysctl(t, "conf/"+name+"/rp_filter", "0")
	}
	route(t)
	for _, port := range ports {
		if err := unix.Sendto(fd, syn(source, target, port), 0, &unix.SockaddrInet4{Addr: target}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(guard); ; {
		began := 0
		for _, s := range testnet.Sockets(t) {
			if s.State == testnet.SynReceived {
				began++
			}
		}
		if began == len(ports) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d handshakes began, want %d", began, len(ports))
		}
	}
}

// syn returns a packet.
func syn(source, target [4]byte, port uint16) []byte {
	packet := make([]byte, 40)
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_TCP
	copy(packet[12:], source[:])
	copy(packet[16:], target[:])
	tcp := packet[20:]
	tcp[0], tcp[1] = byte(port>>8), byte(port)
	tcp[2], tcp[3] = 9999>>8, 9999&255
	tcp[12], tcp[13] = 5<<4, 2 // SYN
	tcp[14] = 0x10
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
	return packet
}
