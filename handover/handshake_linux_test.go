package handover_test

import (
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

// synFrom sends a SYN to the server, and drops what comes back.
func synFrom(t testing.TB, port uint16) {
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
	if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: target}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(guard); ; {
		for _, s := range testnet.Sockets(t) {
			if s.State == testnet.SynReceived {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("no handshake began")
		}
	}
}
