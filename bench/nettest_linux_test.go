package bench_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/reuse"
	"golang.org/x/net/nettest"
)

// A place is where a server listens and how its client gets there.
type place struct {
	name    string
	network string
	// address is asked for before every Listen.
	address func(testing.TB) string
	// host is where to dial the port of a TCP listener.
	host string
}

// Connections that package reuse's listeners accept do what those of net.Listen
// do. The latter are the control: where they fail, the machine is at fault.
func TestConn(t *testing.T) {
	// unixpacket belongs here although it has no streams: the suite writes
	// packets of at most 1024 bytes and reads them whole.
	tcp := []place{
		{"tcp4", "tcp4", fixed("127.0.0.1:0"), "127.0.0.1"},
		{"tcp6", "tcp6", fixed("[::1]:0"), "::1"},
		{"dual stack over IPv4", "tcp", fixed(":0"), "127.0.0.1"},
		{"dual stack over IPv6", "tcp", fixed(":0"), "::1"},
	}
	unix := []place{
		{"unix", "unix", file, ""},
		{"unix, abstract", "unix", abstract, ""},
		{"unixpacket", "unixpacket", file, ""},
		{"unixpacket, abstract", "unixpacket", abstract, ""},
	}
	stale := []place{
		{"unix, stale file", "unix", staleFile("unix"), ""},
		{"unixpacket, stale file", "unixpacket", staleFile("unixpacket"), ""},
	}
	for _, listener := range []struct {
		name   string
		listen func(network, address string) (net.Listener, error)
		places []place
	}{
		{"net", net.Listen, slices.Concat(tcp, unix)},
		{"Addr", reuse.Addr.Listen, slices.Concat(tcp, unix, stale)},
		{"Addr.ListenConfig", listenConfig(reuse.Addr), slices.Concat(tcp, unix)},
		{"Port", reuse.Port.Listen, tcp},
		{"Port.ListenConfig", listenConfig(reuse.Port), tcp},
	} {
		for _, p := range listener.places {
			t.Run(listener.name+"/"+p.name, func(t *testing.T) {
				t.Parallel()
				if p.host == "::1" && !nettest.SupportsIPv6() {
					t.Skip("needs IPv6")
				}
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					return p.pair(t, listener.listen)
				})
			})
		}
	}
}

// pair returns both ends of a connection, the server's first, because the suite
// does most to that one.
func (p place) pair(t testing.TB, listen func(network, address string) (net.Listener, error)) (server, client net.Conn, stop func(), err error) {
	ln, err := listen(p.network, p.address(t))
	if err != nil {
		return nil, nil, nil, err
	}
	target := ln.Addr().String()
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		target = net.JoinHostPort(p.host, fmt.Sprint(addr.Port))
	}
	client, err = net.Dial(p.network, target)
	if err != nil {
		ln.Close()
		return nil, nil, nil, err
	}
	server, err = ln.Accept()
	if err != nil {
		ln.Close()
		client.Close()
		return nil, nil, nil, err
	}
	return server, client, func() {
		ln.Close()
		client.Close()
		server.Close()
	}, nil
}

func fixed(address string) func(testing.TB) string {
	return func(testing.TB) string { return address }
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "socket") }

func abstract(t testing.TB) string { return fmt.Sprintf("@%s.%d", t.Name(), os.Getpid()) }

// staleFile returns a function that leaves the file of a closed socket.
func staleFile(network string) func(testing.TB) string {
	return func(t testing.TB) string {
		path := file(t)
		dead, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		dead.Close()
		return path
	}
}

func listenConfig(m reuse.Mode) func(network, address string) (net.Listener, error) {
	return func(network, address string) (net.Listener, error) {
		return m.ListenConfig().Listen(context.Background(), network, address)
	}
}

const brokenConnEnv = "BENCH_BROKEN_CONN"

// The suite fails on connections that do not tell a deadline from the end of
// the stream, and only there. It fails the test that calls it, so it runs in a
// process of its own.
func TestBrokenConn(t *testing.T) {
	if os.Getenv(brokenConnEnv) != "" {
		p := place{"tcp4", "tcp4", fixed("127.0.0.1:0"), "127.0.0.1"}
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			c1, c2, stop, err = p.pair(t, reuse.Addr.Listen)
			return brokenConn{c1}, c2, stop, err
		})
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestBrokenConn$", "-test.v")
	cmd.Env = append(os.Environ(), brokenConnEnv+"=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the suite on a broken connection: %v, want exit status 1", err)
	}
	for _, want := range []string{
		"--- PASS: TestBrokenConn/BasicIO",
		"--- PASS: TestBrokenConn/PingPong",
		"--- FAIL: TestBrokenConn/ReadTimeout",
		"--- FAIL: TestBrokenConn/PastTimeout",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// A brokenConn returns io.EOF where a deadline has passed.
type brokenConn struct{ net.Conn }

func (c brokenConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}
