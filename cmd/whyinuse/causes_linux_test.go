package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
)

const nobody = 65534

// Who listens, and how.
func TestListeners(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	for _, network := range []string{"tcp4", "udp4"} {
		t.Run(network, func(t *testing.T) {
			testnet.Namespace(t)
			for _, test := range []struct {
				uid     int
				options string
				asker   int
				cause   string
				parts   []string
			}{
				{0, "none", 0, "listener", []string{"(pid PID)", "user root", "What helps: stop pid PID"}},
				{nobody, "none", 0, "listener", []string{"(pid PID)", "user nobody"}},
				{nobody, "none", nobody, "listener", []string{"(pid PID)", "user nobody"}},
				{0, "port", 0, "sharing", []string{"SO_REUSEPORT"}},
				{nobody, "port", 0, "other-user", []string{"(pid PID)", "run both as the same user"}},
				{0, "none", nobody, "hidden", []string{"user root", "Not seen: ", "another user's"}},
			} {
				want(t, tell(t, test.asker, network, "127.0.0.1:9999"), "free", 0, "is free")
				p := hold(t, test.uid, network, "127.0.0.1:9999", test.options)
				o := tell(t, test.asker, network, "127.0.0.1:9999")
				want(t, o, test.cause, 1, "127.0.0.1:9999 is in use: ")
				for _, part := range test.parts {
					want(t, o, test.cause, 1, strings.ReplaceAll(part, "PID", fmt.Sprint(p.Process.Pid)))
				}
				if len(o.Holders) == 1 {
					h := o.Holders[0]
					seen := test.cause != "hidden"
					if h.Network != network || h.Local != "127.0.0.1:9999" || h.UID != test.uid || h.Inode == 0 ||
						seen != (len(h.Processes) == 1 && h.Processes[0].PID == p.Process.Pid) || !seen && h.Options != nil {
						t.Errorf("holder %+v", h)
					}
					if test.asker == 0 && (h.Options == nil || (test.options == "port") != (len(h.Options) == 1)) {
						t.Errorf("options %v of a socket with %s", h.Options, test.options)
					}
				}
				want(t, tell(t, test.asker, network, "127.0.0.1:9998"), "free", 0)
				p.Stop(t)
			}
		})
	}
}

func TestInherited(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	want(t, tellHere(t, "127.0.0.1:9999"), "listener", 1)
	do(t, p, "heir")
	o := tellHere(t, "127.0.0.1:9999")
	want(t, o, "inherited", 1, "its heir")
	if processes := o.Holders[0].Processes; len(processes) != 2 || processes[0].PID != p.Process.Pid || processes[0].Heir || !processes[1].Heir {
		t.Errorf("processes %+v", processes)
	}
}

func TestDualStack(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	hold(t, os.Getuid(), "tcp6", "[::1]:9999", "none")
	want(t, tellHere(t, "tcp4", ":9999"), "free", 0)
	hold(t, os.Getuid(), "tcp", ":9998", "none")
	want(t, tellHere(t, "tcp4", ":9998"), "dual-stack", 1)
	want(t, tellHere(t, "tcp6", ":9998"), "listener", 1)
}

// What is left of connections, and clients.
func TestConnections(t *testing.T) {
	testnet.NeedTables(t)
	for _, test := range []struct {
		options options
		state   testnet.State
		cause   string
	}{
		{addr, testnet.TimeWait, "leftover"},
		{addr, testnet.Established, "leftover"},
		{none, testnet.TimeWait, "stubborn"},
		{none, testnet.FinWait2, "stubborn"},
	} {
		t.Run(fmt.Sprint(test.cause, " ", test.state), func(t *testing.T) {
			testnet.Namespace(t)
			want(t, tellHere(t, "9999"), "free", 0)
			ln, err := test.options.config().Listen(t.Context(), "tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", test.state)
			o := tellHere(t, "9999")
			want(t, o, test.cause, 1, test.state.String())
			if h := o.Holders[0]; test.state == testnet.TimeWait && (h.Expires <= 0 || h.Expires > 60 || h.UID != -1) {
				t.Errorf("holder %+v", h)
			}
			want(t, tellHere(t, "9998"), "free", 0)
		})
	}
	t.Run("outgoing", func(t *testing.T) {
		testnet.Namespace(t)
		testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
		hold(t, os.Getuid(), "tcp4", "127.0.0.1:9000", "none")
		want(t, tellHere(t, "20000"), "free", 0)
		conn, err := net.Dial("tcp", "127.0.0.1:9000")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		want(t, tellHere(t, "20000"), "outgoing", 1, "ip_local_reserved_ports=20000")
		want(t, tellHere(t, ":0"), "exhausted", 0, "cannot be bound", "1 of the 1 ports")
	})
}

// A port that this process has itself: run is called by one that listens.
func TestSelf(t *testing.T) {
	testnet.NeedTables(t)
	for _, network := range []string{"tcp", "udp"} {
		sock, err := open(network, "127.0.0.1:0", none)
		if err != nil {
			t.Fatal(err)
		}
		address := ""
		if ln, ok := sock.(net.Listener); ok {
			address = ln.Addr().String()
		} else {
			address = sock.(net.PacketConn).LocalAddr().String()
		}
		o := tellHere(t, network, address)
		want(t, o, "self", 1)
		if processes := o.Holders[0].Processes; len(processes) != 1 || processes[0].PID != os.Getpid() {
			t.Errorf("processes %+v", processes)
		}
		sock.Close()
		want(t, tellHere(t, network, address), "free", 0)
	}
}

// A low port is not free for those who may not have it, on UDP neither.
func TestPrivileged(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp", "tcp6", "udp", "udp4", "udp6"} {
		want(t, tell(t, 0, network, ":80"), "free", 0)
		want(t, tell(t, nobody, network, ":80"), "privileged", 0, network+" :80 cannot be bound: ", "ip_unprivileged_port_start")
		want(t, tell(t, nobody, network, ":1024"), "free", 0)
	}
	testnet.Sysctl(t, "ip_unprivileged_port_start", "80")
	want(t, tell(t, nobody, "udp", ":80"), "free", 0)
	want(t, tell(t, nobody, "udp", ":79"), "privileged", 0)
	hold(t, nobody, "udp", ":80", "none")
}

func TestAddresses(t *testing.T) {
	testnet.NeedTables(t)
	if _, err := net.InterfaceByName("lo"); err != nil {
		t.Skipf("needs rtnetlink, which emulators do not have: %v", err)
	}
	testnet.Namespace(t)
	for _, network := range []string{"tcp", "udp"} {
		want(t, tellHere(t, network, "192.0.2.1:9999"), "not-local", 0, "cannot be bound", "127.0.0.1")
		want(t, tellHere(t, network, "[2001:db8::1]:9999"), "not-local", 0, "::1")
		want(t, tellHere(t, network, "[fe80::1]:9999"), "no-zone", 0)
		want(t, tellHere(t, network, "[fe80::1%none]:9999"), "unknown", 0, "cannot be bound: bind: invalid argument")
		want(t, tellHere(t, network, "127.0.0.1:9999"), "free", 0)
		want(t, tellHere(t, network, "[::1]:9999"), "free", 0)
		want(t, tellHere(t, network, ":0"), "free", 0)
	}
}

func TestPaths(t *testing.T) {
	testnet.NeedTables(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"unix", "unixgram", "unixpacket"} {
		path := filepath.Join(dir, network)
		want(t, tellHere(t, network, path), "free", 0)
		p := hold(t, os.Getuid(), network, path, "none")
		o := tellHere(t, network, path)
		want(t, o, "listener", 1, fmt.Sprintf("(pid %d)", p.Process.Pid), path)
		if h := o.Holders[0]; h.Path != path || h.Network != network || h.Local != "" || h.Remote != "" {
			t.Errorf("holder %+v", h)
		}
		p.Stop(t)
		o = tellHere(t, path) // unix for short
		want(t, o, "stale", 0, "cannot be bound")
		if o.Network != "unix" {
			t.Errorf("network %s", o.Network)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		want(t, tellHere(t, network, path), "free", 0)
	}
	want(t, tellHere(t, dir), "not-socket", 0)
	want(t, tellHere(t, filepath.Join(dir, "none", "x")), "unknown", 0, "cannot be bound: access "+filepath.Join(dir, "none")+": no such file")

	abstract := fmt.Sprintf("@whyinuse-%d", os.Getpid())
	want(t, tellHere(t, "unix", abstract), "free", 0)
	hold(t, os.Getuid(), "unix", abstract, "none")
	want(t, tellHere(t, "unix", abstract), "listener", 1)
}

// Another user may bind nothing in a directory that is not writable.
func TestForbiddenPath(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	dir, err := os.MkdirTemp("", "whyinuse") // t.TempDir's parents are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "x")
	for mode, cause := range map[os.FileMode]string{0o755: "unknown", 0o777: "free"} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		want(t, tell(t, nobody, path), cause, 0)
		want(t, tell(t, 0, path), "free", 0)
	}
}
