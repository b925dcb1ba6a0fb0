package upper_test

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"example.com/reuse/examples/upper/upper"
)

// echoPackets returns the address of a socket that EchoPackets serves.
func echoPackets(t testing.TB) *net.UDPAddr {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- upper.EchoPackets(conn) }()
	t.Cleanup(func() {
		conn.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("EchoPackets: %v, want net.ErrClosed", err)
		}
	})
	return conn.LocalAddr().(*net.UDPAddr)
}

func dialUDP(t testing.TB, addr *net.UDPAddr) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// A lost answer fails the test before the test binary times out.
	conn.SetDeadline(time.Now().Add(time.Minute))
	conn.SetReadBuffer(256 << 10)
	conn.SetWriteBuffer(256 << 10)
	return conn
}

// askPacket sends message and returns the answer, in buf.
func askPacket(t testing.TB, conn *net.UDPConn, message, buf []byte) []byte {
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func TestEchoPackets(t *testing.T) {
	client := dialUDP(t, echoPackets(t))
	buf := make([]byte, 64<<10)
	for _, message := range [][]byte{
		{},
		{0},
		[]byte("before\x00after"),
		everyByte(256),
		everyByte(1024),
		everyByte(65507), // the most that IPv4 carries
		{},
		[]byte("after all"),
	} {
		if got := askPacket(t, client, message, buf); !bytes.Equal(got, oracle(message)) {
			t.Errorf("%d bytes: got %d, %.50q", len(message), len(got), got)
		}
	}
}

func TestEchoPacketsIPv6(t *testing.T) {
	conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skipf("needs IPv6: %v", err)
	}
	go upper.EchoPackets(conn)
	defer conn.Close()
	client := dialUDP(t, conn.LocalAddr().(*net.UDPAddr))
	message, buf := everyByte(65527), make([]byte, 64<<10) // the most that IPv6 carries
	if got := askPacket(t, client, message, buf); !bytes.Equal(got, oracle(message)) {
		t.Errorf("got %d bytes, %.50q", len(got), got)
	}
}

// Each client gets its own answers, in turn.
func TestEchoPacketsManyClients(t *testing.T) {
	addr := echoPackets(t)
	clients := make([]*net.UDPConn, 32)
	for i := range clients {
		clients[i] = dialUDP(t, addr)
	}
	buf := make([]byte, 64<<10)
	for round := range 3 {
		for i, client := range clients {
			if _, err := client.Write(everyByte(round*100 + i)); err != nil {
				t.Fatal(err)
			}
		}
		for i, client := range clients {
			n, err := client.Read(buf)
			if want := oracle(everyByte(round*100 + i)); err != nil || !bytes.Equal(buf[:n], want) {
				t.Errorf("round %d, client %d: %q, %v", round, i, buf[:n], err)
			}
		}
	}
}

// A client that is gone, whose answer comes back as an ICMP message, does not
// end the service.
func TestEchoPacketsClientGone(t *testing.T) {
	addr := echoPackets(t)
	for range 10 {
		gone := dialUDP(t, addr)
		if _, err := gone.Write([]byte("gone")); err != nil {
			t.Fatal(err)
		}
		gone.Close()
	}
	if got := askPacket(t, dialUDP(t, addr), []byte("here"), make([]byte, 100)); string(got) != "HERE" {
		t.Errorf("got %q", got)
	}
}

// AllocsPerRun counts what all goroutines allocate, the server's included.
func TestEchoPacketsAllocs(t *testing.T) {
	client := dialUDP(t, echoPackets(t))
	message, buf := everyByte(1000), make([]byte, 64<<10)
	if n := testing.AllocsPerRun(1000, func() { askPacket(t, client, message, buf) }); n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}

func BenchmarkEchoPackets(b *testing.B) {
	client := dialUDP(b, echoPackets(b))
	client.SetDeadline(time.Time{})
	message, buf := everyByte(1024), make([]byte, 64<<10)
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		askPacket(b, client, message, buf)
	}
}
