package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
)

// Who listens, and how. The first remedy, applied, frees the port.
func TestListeners(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
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
				{0, "none", 0, "listener", []string{"(pid PID)", "user root", "To free it, stop the process:\n    kill PID\n"}},
				{nobody, "none", 0, "listener", []string{"(pid PID)", "user nobody", "    kill PID\n"}},
				{nobody, "none", nobody, "listener", []string{"(pid PID)", "user nobody", "    kill PID\n"}},
				{0, "port", 0, "listener", []string{"(pid PID)", "    kill PID\n"}},
				{nobody, "port", 0, "other-user", []string{"(pid PID)", "    kill PID\n"}},
				{0, "none", nobody, "hidden", []string{"user root", "To find out, look as root:\n    sudo whyinuse "}},
			} {
				want(t, tell(t, test.asker, network, "127.0.0.1:9999"), "free", 0, "ort 9999 on 127.0.0.1 is free.")
				p := hold(t, test.uid, network, "127.0.0.1:9999", test.options)
				o := tell(t, test.asker, network, "127.0.0.1:9999")
				want(t, o, test.cause, 1, "ort 9999 on 127.0.0.1 is in use by ")
				for _, part := range test.parts {
					want(t, o, test.cause, 1, strings.ReplaceAll(part, "PID", fmt.Sprint(p.Process.Pid)))
				}
				if len(o.Holders) == 1 {
					h := o.Holders[0]
					seen := test.cause != "hidden"
					if h.Network != network || h.Local != "127.0.0.1:9999" || h.UID != test.uid ||
						seen != (len(h.Processes) == 1 && h.Processes[0].PID == p.Process.Pid) {
						t.Errorf("holder %+v", h)
					}
					if test.asker == 0 && (test.options == "port") != (len(h.Options) == 1) {
						t.Errorf("options %v of a socket with %s", h.Options, test.options)
					}
				}
				want(t, tell(t, test.asker, network, "127.0.0.1:9998"), "free", 0)
				if len(o.Remedies) > 0 && strings.HasPrefix(o.Remedies[0].Command, "kill ") && !o.Remedies[0].NeedsRoot {
					shell(t, o.Remedies[0].Command)
					p.Wait()
				} else {
					p.Stop(t)
				}
				want(t, tell(t, test.asker, network, "127.0.0.1:9999"), "free", 0)
			}
		})
	}
}

// shell does what is printed.
func shell(t testing.TB, command string) {
	t.Helper()
	p := testnet.Start(t, os.Getuid(), "shell", command)
	if code, lines := p.End(t); code != 0 {
		t.Errorf("%s: exit code %d, %q", command, code, lines)
	}
}

// A process and its heir: the command that stops both is printed.
func TestInherited(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	want(t, tellHere(t, "127.0.0.1:9999"), "listener", 1)
	do(t, p, "heir")
	o := tellHere(t, "127.0.0.1:9999")
	want(t, o, "inherited", 1)
	if len(o.Holders) != 1 {
		t.Fatal(o.Text)
	}
	processes := o.Holders[0].Processes
	if len(processes) != 2 || processes[0].PID != p.Process.Pid {
		t.Fatalf("processes %+v", processes)
	}
	if command := fmt.Sprintf("kill %d %d", processes[0].PID, processes[1].PID); len(o.Remedies) == 0 || o.Remedies[0].Command != command {
		t.Fatalf("remedies %+v, want %s", o.Remedies, command)
	}
	shell(t, o.Remedies[0].Command)
	p.Wait()
	if e := await(t, "127.0.0.1:9999", forever, time.Millisecond, io.Discard); e.Cause != "free" {
		t.Error(e.Text())
	}
}

func TestDualStack(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	hold(t, os.Getuid(), "tcp6", "[::1]:9999", "none")
	want(t, tellHere(t, "tcp4", ":9999"), "free", 0)
	hold(t, os.Getuid(), "tcp", ":9998", "none")
	want(t, tellHere(t, "tcp4", ":9998"), "dual-stack", 1, "Port 9998 on IPv4 is in use by ")
	want(t, tellHere(t, "0.0.0.0:9998"), "dual-stack", 1, "Port 9998 on IPv4 is in use by ")
	want(t, tellHere(t, "tcp6", ":9998"), "listener", 1)
	want(t, tellHere(t, ":::9998"), "listener", 1, "Port 9998 is in use by ")
	hold(t, os.Getuid(), "tcp4", "0.0.0.0:9997", "none")
	want(t, tellHere(t, "9997"), "listener", 1)
}

// What is left of connections, and clients.
func TestConnections(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	for _, test := range []struct {
		options options
		state   testnet.State
		cause   string
		remedy  string
	}{
		{addr, testnet.TimeWait, "leftover", "set-reuseaddr"},
		{none, testnet.TimeWait, "leftover", "drop-closed"},
		{addr, testnet.FinWait2, "leftover", "set-reuseaddr"},
		{none, testnet.FinWait2, "leftover", "drop-closed"},
	} {
		t.Run(fmt.Sprint(test.cause, " ", test.state, " ", test.remedy), func(t *testing.T) {
			testnet.Namespace(t)
			want(t, tellHere(t, "9999"), "free", 0)
			ln, err := test.options.config().Listen(t.Context(), "tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", test.state)
			o := tellHere(t, "9999")
			want(t, o, test.cause, 1, "Port 9999 is still held by closed connections of a server that has ended.", test.state.String())
			if len(o.Holders) != 1 {
				t.Fatal(o.Text)
			}
			if h := o.Holders[0]; test.state == testnet.TimeWait && (h.Expires <= 0 || h.Expires > 60 || h.UID != -1) {
				t.Errorf("holder %+v", h)
			}
			if r := o.Remedies[len(o.Remedies)-1]; r.Kind != test.remedy {
				t.Errorf("remedies %+v, want %s", o.Remedies, test.remedy)
			}
			want(t, tellHere(t, "9998"), "free", 0)
		})
	}
	t.Run("outgoing", func(t *testing.T) {
		testnet.Namespace(t)
		testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
		hold(t, os.Getuid(), "tcp4", "127.0.0.1:9000", "none")
		want(t, tellHere(t, "20000"), "free", 0)
		p := testnet.Start(t, os.Getuid(), "client", "127.0.0.1:9000")
		if line := p.Line(t); line != "ok" {
			t.Fatalf("client: %q", line)
		}
		want(t, tellHere(t, "20000"), "outgoing", 1, "Port 20000 is in use by an outgoing connection of ", "ip_local_reserved_ports=20000")
		want(t, tellHere(t, ":0"), "exhausted", 0, "No free port is left: all 1 of 20000-20000 are taken.")
	})
}

// A low port is not free for those who may not have it, on UDP neither. If somebody
// has it, that comes first.
func TestPrivileged(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp", "tcp6", "udp", "udp4", "udp6"} {
		want(t, tell(t, 0, network, ":80"), "free", 0)
		want(t, tell(t, nobody, network, ":80"), "privileged", 0, "Nobody has ", "ort 80", ", but user nobody may not use ports below 1024.", "ip_unprivileged_port_start=80")
		want(t, tell(t, nobody, network, ":1024"), "free", 0)
	}
	for _, network := range []string{"tcp", "udp"} {
		p := hold(t, 0, network, ":80", "none")
		want(t, tell(t, nobody, network, ":80"), "hidden", 1, "ort 80 is in use by a process of user root.", "Note: besides, user nobody may not use ports below 1024.")
		p.Stop(t)
	}
	testnet.Sysctl(t, "ip_unprivileged_port_start", "80")
	want(t, tell(t, nobody, "udp", ":80"), "free", 0)
	want(t, tell(t, nobody, "udp", ":79"), "privileged", 0)
	hold(t, nobody, "udp", ":80", "none")
}

func TestAddresses(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	if _, err := net.InterfaceByName("lo"); err != nil {
		t.Skipf("needs rtnetlink, which emulators do not have: %v", err)
	}
	testnet.Namespace(t)
	for _, network := range []string{"tcp", "udp"} {
		want(t, tellHere(t, network, "192.0.2.1:9999"), "not-local", 0, "ort 9999 on 192.0.2.1 cannot be used: this host does not have that address.")
		want(t, tellHere(t, network, "[2001:db8::1]:9999"), "not-local", 0)
		want(t, tellHere(t, network, "[fe80::1]:9999"), "not-local", 0)
		want(t, tellHere(t, network, "[fe80::1%none]:9999"), "wrong-zone", 0, "there is no interface none")
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
		if len(o.Holders) != 1 {
			t.Fatal(o.Text)
		}
		if h := o.Holders[0]; h.Path != path || h.Network != network || h.Local != "" || h.Remote != "" {
			t.Errorf("holder %+v", h)
		}
		p.Stop(t)
		o = tellHere(t, path) // unix for short
		want(t, o, "stale", 0, path+" is left over from a server that has ended.")
		if o.Network != "unix" {
			t.Errorf("network %s", o.Network)
		}
		shell(t, o.Remedies[0].Command)
		want(t, tellHere(t, network, path), "free", 0)
	}
	want(t, tellHere(t, dir), "not-socket", 0)
	want(t, tellHere(t, filepath.Join(dir, "none", "x")), "no-directory", 0, "the directory "+filepath.Join(dir, "none")+" does not exist")
	want(t, tellHere(t, "/"+strings.Repeat("x", 140)), "path-too-long", 0, "141 bytes, and 107 are possible")

	abstract := fmt.Sprintf("@whyinuse-%d", os.Getpid())
	want(t, tellHere(t, abstract), "free", 0)
	hold(t, os.Getuid(), "unix", abstract, "none")
	want(t, tellHere(t, abstract), "listener", 1, abstract+" is in use by ")
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
	for mode, cause := range map[os.FileMode]string{0o755: "directory-denied", 0o777: "free"} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		want(t, tell(t, nobody, path), cause, 0)
		want(t, tell(t, 0, path), "free", 0)
	}
}
