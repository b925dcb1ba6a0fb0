package inuse_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
)

// dialAll connects to a server until no port is left, and returns the connections and the
// error.
func dialAll(t testing.TB, network, address string, most int) (conns []net.Conn, err error) {
	t.Helper()
	for range most + 1 {
		conn, err := net.Dial(network, address)
		if err != nil {
			return conns, err
		}
		t.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	t.Fatalf("more than %d connections", most)
	return nil, nil
}

func TestExhausted(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	ip(t, "link set v0 up")
	ip(t, "link set v1 up")
	ip(t, "address add fe80::1/64 dev v0 nodad")
	for _, host := range []string{"127.0.0.1", "[fe80::1%v0]"} {
		testnet.Sysctl(t, "ip_local_port_range", "20000 20003")
		address := host + ":9000"
		server, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns, dialErr := dialAll(t, "tcp", address, 4)
		if !errors.Is(dialErr, syscall.EADDRNOTAVAIL) {
			t.Fatal(dialErr)
		}
		_, listenErr := net.Listen("tcp", "0.0.0.0:0")
		for to, err := range map[string]error{"": listenErr, " to " + address: dialErr} {
			e := explained(t, err)
			text := goldenText(t, "26", "28232", "4", "32768-60999", "20000-20003", "left:", "left"+to+":",
				"java -jar app.jar", "SELF", "2210", fmt.Sprint(os.Getpid()), "28101", "4")
			if got := heldBy.ReplaceAllString(e.Text(), "held by SELF (pid"); e.Cause != inuse.CauseExhausted || got != text {
				t.Errorf("cause %q prints\n%swant\n%s", e.Cause, got, text)
			}
			// What is known of the ports does not take the list.
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			if got, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(ended, err)); !ok || got.Cause != inuse.CauseExhausted {
				t.Errorf("with an ended context: %v", got)
			}
		}
		// The remedy, in small.
		testnet.Sysctl(t, "ip_local_port_range", "20000 20007")
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("the advice does not help: %v", err)
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		passes(t, "tcp", "0.0.0.0:0")
		// Reserved ports are not left either.
		testnet.Sysctl(t, "ip_local_reserved_ports", "20004-20007")
		_, err = net.Listen("tcp", "0.0.0.0:0")
		e := explained(t, err)
		wantCause(t, e, inuse.CauseExhausted, 0)
		if !strings.HasPrefix(e.Text(), "No free port is left: all 4 of 20000-20007 are taken.\n") {
			t.Errorf("prints\n%s", e.Text())
		}
		testnet.Sysctl(t, "ip_local_reserved_ports", "\n")
		testnet.Sysctl(t, "ip_local_port_range", "20000 20003")
		// They may be free again by the time it is explained.
		for _, conn := range conns {
			conn.(*net.TCPConn).SetLinger(0) // which leaves no TIME_WAIT
			conn.Close()
		}
		server.Close()
		for _, err := range []error{listenErr, dialErr} {
			wantCause(t, explained(t, err), inuse.CauseFree, 0)
		}
	}
}

var heldBy = regexp.MustCompile(`held by [^(]* \(pid`)

func TestExhaustedUDP(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	testnet.Sysctl(t, "ip_local_port_range", "20000 20003")
	_, dialErr := dialAll(t, "udp", "127.0.0.1:9000", 4)
	if !errors.Is(dialErr, syscall.EAGAIN) {
		t.Fatal(dialErr)
	}
	_, listenErr := net.ListenPacket("udp", "127.0.0.1:0")
	for _, err := range []error{dialErr, listenErr} {
		e := explained(t, err)
		wantCause(t, e, inuse.CauseExhausted, 0)
		wantRemedies(t, e, "widen-range")
	}
	testnet.Sysctl(t, "ip_local_port_range", "20000 20007")
	passes(t, "udp", "127.0.0.1:0")
	wantCause(t, explained(t, dialErr), inuse.CauseFree, 0)
}

// TestSameConnection: from one address and port to one address and port there is one
// connection.
func TestSameConnection(t *testing.T) {
	testnet.NeedNative(t)
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
	wantRemedies(t, e, "another-source")
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
