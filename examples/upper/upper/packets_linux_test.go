package upper_test

import (
	"encoding/binary"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Nothing can be sent to port 0, but a datagram can come from there: the one
// write fails, and EchoPackets goes on.
func TestEchoPacketsWriteFails(t *testing.T) {
	addr := echoPackets(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err == unix.EPERM {
		t.Skipf("needs a raw socket: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	datagram := append(make([]byte, 8), "from port 0"...)
	binary.BigEndian.PutUint16(datagram[2:], uint16(addr.Port))
	binary.BigEndian.PutUint16(datagram[4:], uint16(len(datagram)))
	to := &unix.SockaddrInet4{Addr: [4]byte(addr.IP.To4())}

	// The datagram does reach a socket, and its answer does fail.
	control, err := net.ListenUDP("udp", &net.UDPAddr{IP: addr.IP})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	other := append([]byte(nil), datagram...)
	binary.BigEndian.PutUint16(other[2:], uint16(control.LocalAddr().(*net.UDPAddr).Port))
	if err := unix.Sendto(fd, other, 0, to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, client, err := control.ReadFromUDPAddrPort(buf)
	if err != nil || client.Port() != 0 {
		t.Fatalf("control: from %v, %v", client, err)
	}
	if _, err := control.WriteToUDPAddrPort(buf[:n], client); err == nil {
		t.Fatal("control: the answer was sent")
	}

	for range 3 {
		if err := unix.Sendto(fd, datagram, 0, to); err != nil {
			t.Fatal(err)
		}
		if got := askPacket(t, dialUDP(t, addr), []byte("next"), buf); string(got) != "NEXT" {
			t.Errorf("got %q", got)
		}
	}
}
