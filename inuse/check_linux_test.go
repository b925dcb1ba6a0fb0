package inuse

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// Check says of an address what Explain says of the error of a socket without
// options, and cmd/whyinuse's tests what else.
func TestCheck(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	path := filepath.Join(t.TempDir(), "x.socket")
	for _, test := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:9999"}, {"tcp4", ":9999"}, {"tcp6", ":9999"}, {"tcp", "localhost:9999"},
		{"udp", "127.0.0.1:9999"}, {"udp4", ":9999"}, {"udp6", ":9999"},
		{"unix", path}, {"unix", "@inuse-check"},
	} {
		check := func(free bool) {
			t.Helper()
			before := testnet.Descriptors(t)
			e, err := Check(t.Context(), test.network, test.address)
			if err != nil || (e.Cause == CauseFree) != free || (len(e.Remedies) == 0) != free || e.Cause == CauseUnknown {
				t.Fatalf("%s %s: %v, %v, want free: %v", test.network, test.address, e, err, free)
			}
			if after := testnet.Descriptors(t); after != before {
				t.Errorf("%s %s: %d descriptors before, %d after", test.network, test.address, before, after)
			}
		}
		check(true)
		var sock interface{ Close() error }
		var err error
		if test.network[:3] == "udp" {
			sock, err = net.ListenPacket(test.network, test.address)
		} else {
			sock, err = net.Listen(test.network, test.address)
		}
		if err != nil {
			t.Fatal(err)
		}
		check(false)
		sock.Close()
		check(true)
	}
}

// Of what was not seen it does not say that it is free, of what is free not that it
// is in use.
func TestCheckEnded(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct{ network, address string }{
		{"tcp", ":9998"}, {"udp", ":9998"}, {"tcp", ":0"}, {"tcp", "127.0.0.1:9999"}, {"unix", "@inuse-ended"},
	} {
		e, err := Check(ended, test.network, test.address)
		if err != nil || e.Cause == CauseFree || test.address != "127.0.0.1:9999" && e.Cause != CauseUnknown {
			t.Errorf("%s %s: %s, %v", test.network, test.address, e.Cause, err)
		}
		e, err = Check(t.Context(), test.network, test.address)
		if want := map[bool]Cause{true: CauseSelf, false: CauseFree}[test.address == "127.0.0.1:9999"]; err != nil || e.Cause != want {
			t.Errorf("control: %s %s: %s, %v, want %s", test.network, test.address, e.Cause, err, want)
		}
	}
}

// The kernel's answer about the address, and about the right to the port, is had
// without the port.
func TestBindAddress(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	pc, err := net.ListenPacket("udp4", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	for _, test := range []struct {
		network, local string
		want           refusal
	}{
		{"udp", "127.0.0.1:9999", 0}, {"tcp", "127.0.0.1:9999", 0}, {"udp4", ":9999", 0}, {"tcp6", "[::]:9999", 0}, {"udp", "[::1]:9999", 0},
		{"udp", "192.0.2.1:9999", refusedNotAvailable}, {"tcp", "192.0.2.1:9999", refusedNotAvailable}, {"tcp6", "[2001:db8::1]:9999", refusedNotAvailable},
		{"udp", "[fe80::1]:9999", refusedInvalid}, {"udp", "224.0.0.251:5353", 0},
	} {
		a := attempt{network: test.network}
		if test.local[0] != ':' {
			a.local = netip.MustParseAddrPort(test.local)
		}
		if err := a.bindAddress(t.Context()); (err == nil) != (test.want == 0) || err != nil && refusalOf(err) != test.want {
			t.Errorf("%s %s: %v, want refusal %d", test.network, test.local, err, test.want)
		}
		if err := a.bindTwice(); err != nil {
			t.Errorf("%s %s: %v", test.network, test.local, err)
		}
	}
}

// A receiver that lets others have its port gets all datagrams while Check looks.
func TestCheckTakesNothing(t *testing.T) {
	testnet.NeedTables(t)
	fd, err := testnet.Bind(unix.SOCK_DGRAM, netip.MustParseAddrPort("127.0.0.1:0"), false, testnet.ReuseAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprint("127.0.0.1:", name.(*unix.SockaddrInet4).Port)
	client, err := net.Dial("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	got := func() bool {
		t.Helper()
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		n, _ := unix.Read(fd, make([]byte, 8)) // loopback delivers within Write
		return n == 1
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		var err error
		for range 20 {
			if _, failed := Check(context.WithoutCancel(t.Context()), "udp", address); failed != nil {
				err = failed
			}
		}
		done <- err
	}()
	sent, lost := 0, 0
	for looking := true; looking; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			looking = false
		case <-time.After(50 * time.Microsecond):
		}
		sent++
		if !got() {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d datagrams are lost", lost, sent)
	}
	// The control: a socket that is bound takes them.
	other, err := testnet.Bind(unix.SOCK_DGRAM, netip.MustParseAddrPort(address), false, testnet.ReuseAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	if got() {
		t.Error("control: another socket takes nothing")
	}
}
