package inuse_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// service is a process that is refused an address, explains why, and prints the cause and
// the explanation. Its arguments are how, the network and the address: "listen" as
// package net does, "share" with SO_REUSEPORT, "dial", "check", which only asks, and
// "twice", which listens before.
func service(args []string) error {
	how, network, address := args[0], args[1], args[2]
	var err error
	switch how {
	case "listen", "twice":
		if how == "twice" {
			first, err := open(network, address)
			if err != nil {
				return err
			}
			defer first.Close()
		}
		_, err = open(network, address)
	case "share":
		_, err = reuse.Port.Listen(network, address)
	case "dial":
		_, err = net.Dial(network, address)
	case "check":
		var e *inuse.Error
		if e, err = inuse.Check(context.Background(), network, address); err == nil {
			err = e
		}
	}
	e, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(context.Background(), err))
	if !ok {
		return fmt.Errorf("not explained: %w", err)
	}
	if _, err := inuse.Listening(context.Background()); err != nil {
		return err
	}
	fmt.Printf("%s\n%q\n", e.Cause, e.Error())
	return nil
}

// A restricted is a way to come to a cause.
type restricted struct {
	cause  inuse.Cause
	inside inuse.Cause // in a sandbox, where options of others cannot be read; "" for cause
	blind  inuse.Cause // and without netlink; "" for inside
	or     inuse.Cause // anywhere; "" for none
	uid    int
	// make makes the situation, in a network namespace and a directory, and returns
	// the arguments of service.
	make func(t *testing.T, dir string) []string
}

const nines = "127.0.0.1:9999"

// holding makes a situation of a process that holds an address.
func holding(uid int, kind, at string, o testnet.Options, args ...string) func(*testing.T, string) []string {
	return func(t *testing.T, _ string) []string {
		hold(t, uid, kind, at, o)
		return args
	}
}

// leaving makes one of a connection that a listener left behind.
func leaving(state testnet.State) func(*testing.T, string) []string {
	return func(t *testing.T, _ string) []string {
		config := net.ListenConfig{Control: testnet.NoOption.Control}
		ln, err := config.Listen(t.Context(), "tcp", nines)
		if err != nil {
			t.Fatal(err)
		}
		testnet.Leave(t, ln, nines, state)
		return []string{"listen", "tcp", nines}
	}
}

// calling makes one by commands of ip.
func calling(args []string, commands ...string) func(*testing.T, string) []string {
	return func(t *testing.T, _ string) []string {
		for _, c := range commands {
			ip(t, c)
		}
		return args
	}
}

var restrictions = []restricted{
	{cause: inuse.CauseSelf, make: calling([]string{"twice", "tcp", nines})},
	{cause: inuse.CauseSelf, uid: nobody, make: calling([]string{"twice", "udp", nines})},
	{cause: inuse.CauseListener, make: holding(0, "listen", nines, testnet.NoOption, "listen", "tcp", nines)},
	{cause: inuse.CauseListener, uid: nobody, make: holding(nobody, "listen", nines, testnet.ReusePort, "listen", "tcp", nines)},
	{cause: inuse.CauseListener, make: holding(0, "udp", nines, testnet.NoOption, "listen", "udp", nines)},
	{cause: inuse.CauseListener, make: holding(0, "listen", nines, testnet.NoOption, "check", "tcp", "localhost:9999")},
	{cause: inuse.CauseHidden, uid: nobody, make: holding(0, "listen", nines, testnet.NoOption, "listen", "tcp", nines)},
	{cause: inuse.CauseOneAddress, make: holding(0, "udp", nines, testnet.NoOption, "listen", "udp4", ":9999")},
	{cause: inuse.CauseDualStack, make: holding(0, "listen", "[::]:9999", testnet.NoOption, "listen", "tcp4", ":9999")},
	{cause: inuse.CauseOtherUser, inside: inuse.CauseListener, make: holding(nobody, "listen", nines, testnet.ReusePort, "share", "tcp", nines)},
	{cause: inuse.CauseBound, make: holding(0, "bind", nines, testnet.NoOption, "listen", "tcp", nines)},
	{cause: inuse.CauseInherited, make: func(t *testing.T, _ string) []string {
		p := hold(t, 0, "listen", nines, testnet.NoOption)
		fmt.Fprintln(p.In, "heir")
		p.Line(t)
		return []string{"listen", "tcp", nines}
	}},
	{cause: inuse.CauseDevice, blind: inuse.CauseListener, make: func(t *testing.T, _ string) []string {
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), "lo") })
			return errors.Join(err, failed)
		}}
		pc, err := config.ListenPacket(t.Context(), "udp4", ":9999")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		return []string{"listen", "udp4", ":9999"}
	}},
	{cause: inuse.CauseLeftover, make: leaving(testnet.TimeWait)},
	{cause: inuse.CauseLeftover, make: leaving(testnet.FinWait2)},
	{cause: inuse.CauseConnection, make: leaving(testnet.Established)},
	{cause: inuse.CauseOutgoing, make: func(t *testing.T, _ string) []string {
		testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
		server, err := net.Listen("tcp", "127.0.0.1:9000")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		dialed(t, server)
		return []string{"listen", "tcp", ":20000"}
	}},
	{cause: inuse.CauseExhausted, make: func(t *testing.T, _ string) []string {
		testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
		server, err := net.Listen("tcp", "127.0.0.1:9000")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		dialed(t, server)
		return []string{"dial", "tcp", "127.0.0.1:9000"}
	}},
	{cause: inuse.CauseKernel, blind: inuse.CauseNoProcess, or: inuse.CauseHidden, make: calling([]string{"listen", "udp", ":4789"}, "link add vx0 type vxlan id 1 dstport 4789 local 127.0.0.1", "link set vx0 up")},
	// In flight. Processes with more rights than root has here might have it.
	{cause: inuse.CauseNoProcess, or: inuse.CauseHidden, make: func(t *testing.T, _ string) []string {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
		fd, err := testnet.Bind(unix.SOCK_STREAM, netip.MustParseAddrPort(nines), false, testnet.NoOption)
		if err == nil {
			err = errors.Join(unix.Listen(fd, 1), unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0), unix.Close(fd))
		}
		if err != nil {
			t.Fatal(err)
		}
		return []string{"listen", "tcp", nines}
	}},
	{cause: inuse.CausePrivileged, uid: nobody, make: calling([]string{"listen", "tcp", "127.0.0.1:80"})},
	{cause: inuse.CauseForbidden, make: func(t *testing.T, _ string) []string {
		if err := landlock(); errors.Is(err, errors.ErrUnsupported) { // of this thread, and of what it starts
			t.Skip("needs Landlock that knows ports")
		} else if err != nil {
			t.Fatal(err)
		}
		return []string{"share", "tcp", nines}
	}},
	{cause: inuse.CauseNotLocal, make: calling([]string{"listen", "tcp", "192.0.2.1:9999"})},
	{cause: inuse.CauseNotLocal, make: calling([]string{"listen", "udp", "[2001:db8::1]:9999"})},
	{cause: inuse.CauseNoLink, blind: inuse.CauseTentative, make: calling([]string{"listen", "tcp", "[fd00::5]:8080"},
		"link add v0 type veth peer name v1", "link set v0 up", "address add fd00::5/64 dev v0")},
	{cause: inuse.CauseTentative, make: func(t *testing.T, _ string) []string {
		ip(t, "link add v0 type veth peer name v1")
		setNet(t, "ipv6/conf/v0/dad_transmits", "60")
		ip(t, "link set v0 up")
		ip(t, "link set v1 up")
		ip(t, "address add fd00::5/64 dev v0")
		return []string{"listen", "tcp", "[fd00::5]:8080"}
	}},
	{cause: inuse.CauseNoZone, make: calling([]string{"listen", "tcp", "[fe80::1]:8080"}, "address add fe80::1/64 dev lo nodad")},
	{cause: inuse.CauseWrongZone, make: calling([]string{"listen", "tcp", "[fe80::1%eth9]:8080"}, "address add fe80::1/64 dev lo nodad")},
	{cause: inuse.CauseIPv6Off, make: func(t *testing.T, _ string) []string {
		setNet(t, "ipv6/conf/lo/disable_ipv6", "1")
		return []string{"listen", "tcp", "[::1]:8080"}
	}},
	{cause: inuse.CauseFree, make: calling([]string{"check", "tcp", nines})},
	{cause: inuse.CauseFree, make: calling([]string{"check", "udp", nines})},

	{cause: inuse.CauseListener, make: func(t *testing.T, dir string) []string {
		holdUnix(t, 0, "unix", filepath.Join(dir, "x.sock"))
		return []string{"listen", "unix", filepath.Join(dir, "x.sock")}
	}},
	{cause: inuse.CauseListener, make: func(t *testing.T, _ string) []string {
		name := fmt.Sprint("@inuse-service-", os.Getpid(), "-", unix.Gettid())
		holdUnix(t, 0, "unix", name)
		return []string{"listen", "unix", name}
	}},
	{cause: inuse.CauseOtherNetns, make: func(t *testing.T, dir string) []string {
		path := filepath.Join(dir, "x.sock")
		holdUnix(t, 0, "unix", path)
		testnet.Namespace(t)
		return []string{"listen", "unix", path}
	}},
	{cause: inuse.CauseStale, make: func(t *testing.T, dir string) []string {
		leaveFile(t, filepath.Join(dir, "x.sock"))
		return []string{"listen", "unix", filepath.Join(dir, "x.sock")}
	}},
	{cause: inuse.CauseStalePerhaps, uid: nobody, make: func(t *testing.T, dir string) []string {
		leaveFile(t, filepath.Join(dir, "x.sock"))
		return []string{"listen", "unix", filepath.Join(dir, "x.sock")}
	}},
	{cause: inuse.CauseNotSocket, make: func(t *testing.T, dir string) []string { return []string{"listen", "unix", dir} }},
	{cause: inuse.CausePathTooLong, make: func(t *testing.T, dir string) []string {
		return []string{"listen", "unix", filepath.Join(dir, strings.Repeat("x", 120))}
	}},
	{cause: inuse.CauseNoDirectory, make: func(t *testing.T, dir string) []string {
		return []string{"listen", "unix", filepath.Join(dir, "none", "x.sock")}
	}},
	{cause: inuse.CauseDirectoryDenied, uid: nobody, make: func(t *testing.T, dir string) []string {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return []string{"listen", "unix", filepath.Join(dir, "x.sock")}
	}},
}

// dialed is a connection to a server.
func dialed(t *testing.T, server net.Listener) {
	t.Helper()
	client, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
}

// An explanation kills no service that systemd has restricted, whatever the cause, and
// says the same as outside, as far as it can.
func TestService(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.NeedSocketTypes(t)
	sandboxes := testnet.KillSandboxes()
	if !testnet.Long { // what the stricter list allows, the other one does
		sandboxes = []testnet.Sandbox{{Unprivileged: true}, sandboxes[len(sandboxes)-1]}
	}
	for i, r := range restrictions {
		t.Run(fmt.Sprintf("%d %s", i, r.cause), func(t *testing.T) {
			t.Parallel()
			testnet.Namespace(t)
			dir, err := os.MkdirTemp("/tmp", "inuse")
			if err == nil {
				t.Cleanup(func() { os.RemoveAll(dir) })
				err = os.Chmod(dir, 0o777)
			}
			if err != nil {
				t.Fatal(err)
			}
			args := r.make(t, dir)
			run := func(p *testnet.Process) (inuse.Cause, string) {
				t.Helper()
				cause, text := p.Line(t), p.Line(t)
				p.Survived(t)
				return inuse.Cause(cause), text
			}
			cause, text := run(testnet.Start(t, r.uid, "service", args...))
			if cause != r.cause && (r.or == "" || cause != r.or) {
				t.Errorf("outside: %q, %s", cause, text)
			}
			for _, s := range sandboxes {
				want := r.cause
				if r.inside != "" {
					want = r.inside
				}
				if s.NoNetlink && r.blind != "" {
					want = r.blind
				}
				if cause, text := run(testnet.StartSandboxed(t, s, r.uid, "service", args...)); cause != want && (r.or == "" || cause != r.or) {
					t.Errorf("%v: %q, want %q: %s", s, cause, want, text)
				}
			}
		})
	}
}
