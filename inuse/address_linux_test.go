package inuse_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// goldenText returns what is to be printed in a situation, with names replaced.
func goldenText(t testing.TB, id string, replace ...string) string {
	t.Helper()
	file, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut("\n"+string(file), "\n#"+id+" ")
	_, rest, _ = strings.Cut(rest, "\n")
	text, _, ends := strings.Cut(rest, ">> ")
	if !found || !ends {
		t.Fatalf("no text %s", id)
	}
	return strings.NewReplacer(replace...).Replace(text)
}

// says fails the test unless err is explained by the cause, with the text.
func says(t testing.TB, err error, cause inuse.Cause, text string) *inuse.Error {
	t.Helper()
	e := explained(t, err)
	if e.Cause != cause || e.Text() != text {
		t.Errorf("cause %q, want %q; prints\n%swant\n%s", e.Cause, cause, e.Text(), text)
	}
	return e
}

// refused returns the error of a listen by package net that has to fail.
func refused(t testing.TB, network, address string) error {
	t.Helper()
	return failed(t, 0, network, address)
}

// A pause is between two looks at what the kernel reports to nobody.
const pause = 5 * time.Millisecond

// passes waits until the address can be had.
func passes(t testing.TB, network, address string) {
	t.Helper()
	for deadline := time.Now().Add(testnet.Slow(20 * time.Second)); ; time.Sleep(pause) {
		sock, err := open(network, address)
		if err == nil {
			sock.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the advice does not help: %v", err)
		}
	}
}

func open(network, address string) (io.Closer, error) {
	if strings.HasPrefix(network, "udp") || network == "unixgram" {
		return net.ListenPacket(network, address)
	}
	return net.Listen(network, address)
}

// ip runs ip(8) in the calling thread's network namespace.
func ip(t testing.TB, args string) {
	t.Helper()
	name, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("needs ip, of iproute2")
	}
	if out, err := exec.Command(name, strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// setNet sets net.NAME of the calling thread's network namespace, which ends with the test.
func setNet(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// wired moves the test to a network namespace with an interface v0, which is linked to v1.
// Neither has an address before it is up.
func wired(t *testing.T) {
	t.Helper()
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	t.Parallel()
	testnet.Namespace(t)
	if os.Getenv("TESTNET_MACHINE") == "own" {
		t.Skip("needs a network namespace")
	}
	ip(t, "link add v0 type veth peer name v1")
}

func TestTentative(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	setNet(t, "ipv6/conf/v0/dad_transmits", "60")
	ip(t, "link set v0 up")
	ip(t, "link set v1 up")
	ip(t, "address add fd00::5/64 dev v0")
	for _, network := range []string{"tcp", "udp"} {
		e := says(t, refused(t, network, "[fd00::5]:8080"), inuse.CauseTentative,
			goldenText(t, "13", "Port", map[string]string{"tcp": "Port", "udp": "UDP port"}[network], "2 s", "61 s"))
		wantRemedies(t, e, "wait")
	}
	ip(t, "address del fd00::5/64 dev v0")
	setNet(t, "ipv6/conf/v0/dad_transmits", "1")
	setNet(t, "ipv6/neigh/v0/retrans_time_ms", "200")
	ip(t, "address add fd00::5/64 dev v0")
	passes(t, "tcp", "[fd00::5]:8080")
}

func TestNoLink(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	ip(t, "link set v0 up") // and v1 down
	ip(t, "address add fd00::5/64 dev v0")
	err := refused(t, "tcp", "[fd00::5]:8080")
	says(t, err, inuse.CauseNoLink, goldenText(t, "14"))
	passes(t, "tcp", "[::]:8080")
	setNet(t, "ipv6/ip_nonlocal_bind", "1")
	passes(t, "tcp", "[fd00::5]:8080")
	setNet(t, "ipv6/ip_nonlocal_bind", "0")
	// Of an interface that is down, this is the first to do.
	ip(t, "link set v0 down")
	ip(t, "link set v1 up")
	ip(t, "address add fd00::5/64 dev v0")
	e := explained(t, refused(t, "tcp", "[fd00::5]:8080"))
	wantCause(t, e, inuse.CauseNoLink, 0)
	wantRemedies(t, e, "link-up", "bind-any")
	ip(t, "link set v0 up")
	passes(t, "tcp", "[fd00::5]:8080")
}

func TestDuplicate(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	setNet(t, "ipv6/neigh/v0/retrans_time_ms", "200")
	// The other end goes to another host, which has the address.
	joined, done, ended := make(chan int), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
		}
		joined <- unix.Gettid()
		<-done
		for _, args := range []string{"link set v1 up", "address add fd00::5/64 dev v1 nodad"} {
			if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v\n%s", args, err, out)
			}
		}
		joined <- 0
		<-done // the namespace ends with the thread
	}()
	// ip knows processes, not threads.
	network, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", <-joined))
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	ip(t, fmt.Sprintf("link set v1 netns /proc/%d/fd/%d", os.Getpid(), network.Fd()))
	done <- struct{}{}
	<-joined
	defer func() { close(done); <-ended }()

	ip(t, "link set v0 up")
	ip(t, "address add fd00::7/64 dev v0 nodad")
	ip(t, "address add fd00::5/64 dev v0")
	for deadline := time.Now().Add(testnet.Slow(20 * time.Second)); ; time.Sleep(pause) {
		err := refused(t, "tcp", "[fd00::5]:8080")
		if e, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(t.Context(), err)); !ok || e.Cause != inuse.CauseTentative {
			says(t, err, inuse.CauseDuplicate, goldenText(t, "15"))
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the check for duplicates does not end")
		}
	}
	passes(t, "tcp", "[fd00::7]:8080")
}

func TestZone(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	ip(t, "link set v0 addrgenmode none")
	ip(t, "link set v1 addrgenmode none")
	ip(t, "link set v0 up")
	ip(t, "link set v1 up")
	ip(t, "address add fe80::1/64 dev v0 nodad")
	for _, test := range []struct {
		address, golden string
		cause           inuse.Cause
	}{
		{"[fe80::1]:8080", "16", inuse.CauseNoZone},
		{"[fe80::1%eth9]:8080", "17", inuse.CauseWrongZone},
		{"[fe80::1%v1]:8080", "17b", inuse.CauseWrongZone},
		{"[fe80::1%99]:8080", "17", inuse.CauseWrongZone}, // ENODEV
	} {
		for _, network := range []string{"tcp", "udp"} {
			text := goldenText(t, test.golden, "Port", map[string]string{"tcp": "Port", "udp": "UDP port"}[network])
			if strings.Contains(test.address, "%99") {
				text = strings.ReplaceAll(text, "eth9", "99")
			}
			wantRemedies(t, says(t, refused(t, network, test.address), test.cause, text), "use-zone")
			passes(t, network, "[fe80::1%v0]:8080")
		}
	}
	// An address that no interface has.
	for _, address := range []string{"[fe80::9]:8080", "[fe80::9%v0]:8080"} {
		wantCause(t, explained(t, refused(t, "tcp", address)), inuse.CauseNotLocal, 0)
	}
	e := explained(t, refused(t, "tcp", "[fe80::9%eth9]:8080"))
	wantCause(t, e, inuse.CauseWrongZone, 0)
	wantRemedies(t, e, "bind-any")
	// Multicast is for UDP.
	e = explained(t, refused(t, "tcp", "[ff02::1%v0]:8080"))
	wantCause(t, e, inuse.CauseNotLocal, 0)
	wantRemedies(t, e, "bind-any")
	// An address that two interfaces have.
	ip(t, "address add fe80::1/64 dev v1 nodad")
	e = explained(t, refused(t, "tcp", "[fe80::1]:8080"))
	wantCause(t, e, inuse.CauseNoZone, 0)
	if text := strings.Join(e.Hints, ""); text != "v0 and v1 can be meant" && text != "v1 and v0 can be meant" {
		t.Errorf("hints %q", text)
	}
	passes(t, "tcp", "[fe80::1%v1]:8080")
	// With its zone it is an address like others.
	p := hold(t, 0, "listen", "[fe80::1%v0]:8080", testnet.NoOption)
	wantCause(t, explained(t, refused(t, "tcp", "[fe80::1%v0]:8080")), inuse.CauseListener, 1)
	p.Stop(t)
}

// TestZoneDial: a dial to a link-local address, or from one.
func TestZoneDial(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	ip(t, "link set v0 addrgenmode none")
	ip(t, "link set v1 addrgenmode none")
	ip(t, "link set v0 up")
	ip(t, "link set v1 up")
	ip(t, "address add fe80::1/64 dev v0 nodad")
	ln, err := net.Listen("tcp", "[fe80::1%v0]:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for address, cause := range map[string]inuse.Cause{"[fe80::1]:8080": inuse.CauseNoZone, "[fe80::1%eth9]:8080": inuse.CauseWrongZone} {
		_, err := net.Dial("tcp", address)
		e := explained(t, err)
		wantCause(t, e, cause, 0)
		wantRemedies(t, e, "use-zone")
		if text := e.Text(); !strings.HasPrefix(text, "Port 8080 on fe80::1") || !strings.Contains(text, "To fix it, dial [fe80::1%v0]:8080.\n") {
			t.Errorf("prints\n%s", text)
		}
	}
	conn, err := net.Dial("tcp", "[fe80::1%v0]:8080")
	if err != nil {
		t.Fatalf("the advice does not help: %v", err)
	}
	conn.Close()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 9000}}
	_, err = dialer.Dial("tcp", "[fe80::1%v0]:8080")
	e := explained(t, err)
	wantCause(t, e, inuse.CauseNoZone, 0)
	if text := e.Text(); !strings.HasPrefix(text, "Port 9000 on fe80::1 ") || !strings.Contains(text, "dial from [fe80::1%v0]:9000.\n") {
		t.Errorf("prints\n%s", text)
	}
	dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "v0", Port: 9000}
	if conn, err = dialer.Dial("tcp", "[fe80::1%v0]:8080"); err != nil {
		t.Fatalf("the advice does not help: %v", err)
	}
	conn.Close()
	// An interface whose own address is not ready.
	setNet(t, "ipv6/conf/v1/dad_transmits", "60")
	ip(t, "address add fe80::2/64 dev v1")
	_, err = net.Dial("tcp", "[fe80::1%v1]:8080")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Fatal(err)
	}
	e = explained(t, err)
	wantCause(t, e, inuse.CauseTentative, 0)
	if text := e.Text(); !strings.HasPrefix(text, "Address fe80::2%v1 cannot be used yet: ") || !strings.Contains(text, "wait 61 s") {
		t.Errorf("prints\n%s", text)
	}
	ip(t, "address del fe80::2/64 dev v1")
	ip(t, "address add fe80::2/64 dev v1 nodad")
	if conn, err = net.Dial("udp", "[fe80::1%v1]:8080"); err != nil {
		t.Fatalf("waiting would not help: %v", err)
	}
	conn.Close()
}

func TestNotLocal(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	ip(t, "address add 192.0.2.7/24 dev v0")
	err := refused(t, "tcp", "10.9.9.9:443")
	says(t, err, inuse.CauseNotLocal, goldenText(t, "18"))
	passes(t, "tcp", "0.0.0.0:443")
	setNet(t, "ipv4/ip_nonlocal_bind", "1")
	passes(t, "tcp", "10.9.9.9:443")
	setNet(t, "ipv4/ip_nonlocal_bind", "0")
	e := explained(t, refused(t, "udp", "[2001:db8::1]:443"))
	wantCause(t, e, inuse.CauseNotLocal, 0)
	setNet(t, "ipv6/ip_nonlocal_bind", "1")
	passes(t, "udp", "[2001:db8::1]:443")

	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 9, 9, 9)}}
	_, err = dialer.Dial("tcp", "127.0.0.1:443")
	e = explained(t, err)
	wantCause(t, e, inuse.CauseNotLocal, 0)
	wantRemedies(t, e, "leave-source")
	// Who has the port comes first.
	p := hold(t, 0, "listen", "0.0.0.0:443", testnet.NoOption)
	e = explained(t, refused(t, "tcp", "10.9.9.9:443"))
	wantCause(t, e, inuse.CauseListener, 1)
	if text := e.Text(); !strings.Contains(text, "besides, this host does not have that address") {
		t.Errorf("prints\n%s", text)
	}
	p.Stop(t)
}

// TestLoopbackDown: a namespace begins with lo down, and without its addresses.
func TestLoopbackDown(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedRoot(t)
	t.Parallel()
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs a network namespace: %v", err)
	}
	ip(t, "link add v0 type veth peer name v1")
	ip(t, "address add 192.0.2.7/24 dev v0") // without any address the kernel takes all
	const want = `Port 8080 on 127.0.0.1 cannot be used: lo, which has that address, is down.
To fix it, set lo up:
    ip link set lo up
Or listen on 0.0.0.0, which is every address of this host.
`
	says(t, refused(t, "tcp", "127.0.0.1:8080"), inuse.CauseNotLocal, want)
	passes(t, "tcp", "0.0.0.0:8080")
	ip(t, "link set lo up")
	passes(t, "tcp", "127.0.0.1:8080")
}

func TestIPv6Off(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	setNet(t, "ipv6/conf/lo/disable_ipv6", "1")
	says(t, refused(t, "tcp", "[::1]:8080"), inuse.CauseIPv6Off, goldenText(t, "19"))
	passes(t, "tcp", "127.0.0.1:8080")
	setNet(t, "ipv6/conf/lo/disable_ipv6", "0")
	passes(t, "tcp", "[::1]:8080")
	setNet(t, "ipv6/conf/all/disable_ipv6", "1")
	_, err := net.Dial("tcp", "[::1]:8080")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Fatal(err)
	}
	e := explained(t, err)
	wantCause(t, e, inuse.CauseIPv6Off, 0)
	if text := e.Text(); !strings.HasPrefix(text, "Port 8080 on ::1 cannot be used: IPv6 is switched off here.\nTo fix it, switch IPv6 on for lo:\n") {
		t.Errorf("prints\n%s", text)
	}
	setNet(t, "ipv6/conf/lo/disable_ipv6", "0")
	if _, err = net.Dial("tcp", "[::1]:8080"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the advice does not help: %v", err)
	}
}

// TestOneAddress: a server at one address of this host leaves the others.
func TestOneAddress(t *testing.T) {
	testnet.NeedNative(t)
	wired(t)
	ip(t, "address add 192.0.2.7/24 dev v0")
	ip(t, "link set v0 up")
	ip(t, "link set v1 up")
	p := hold(t, 0, "udp", "127.0.0.53:53", testnet.NoOption)
	e := explained(t, refused(t, "udp4", ":53"))
	wantCause(t, e, inuse.CauseOneAddress, 1)
	wantRemedies(t, e, "other-address", "stop-process")
	if text := e.Text(); !strings.Contains(text, "To start beside it, listen on another address of this host, such as 192.0.2.7.\n") {
		t.Errorf("prints\n%s", text)
	}
	passes(t, "udp4", "192.0.2.7:53")
	p.Stop(t)
}
