package inuse_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
)

// TestExplainHidden explains as a user who may not see the holder's process.
func TestExplainHidden(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	p := hold(t, 0, "listen", "127.0.0.1:9999", testnet.ReuseAddr)
	blind := testnet.Start(t, 65534, "explainer", "1", "tcp", "127.0.0.1:9999")
	line := blind.Line(t)
	if !strings.HasPrefix(line, "hidden 1 1 ") || !strings.Contains(line, "user root") || !strings.Contains(line, "another user's") {
		t.Errorf("as another user: %q", line)
	}
	seeing := testnet.Start(t, 0, "explainer", "1", "tcp", "127.0.0.1:9999")
	if line := seeing.Line(t); !strings.HasPrefix(line, "listener 1 0 ") {
		t.Errorf("as root: %q", line)
	}
	p.Stop(t)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

// TestExplainNamespace explains in a pid namespace of its own, from which the
// holder's process cannot be seen, although it is the same user's.
func TestExplainNamespace(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare(1): ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testnet.Namespace(t)
	p := hold(t, 0, "listen", "127.0.0.1:9999", testnet.ReuseAddr)
	args := []string{self, "1", "tcp", "127.0.0.1:9999"}
	for name, test := range map[string]struct {
		command []string
		want    string
	}{
		"inside":  {append([]string{unshare, "--pid", "--fork", "--mount-proc"}, args...), "hidden 1 1 "},
		"outside": {args, "listener 1 0 "},
	} {
		cmd := exec.Command(test.command[0], test.command[1:]...)
		cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=explainer")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), test.want) {
			t.Errorf("%s: %v, %s; want %q", name, err, out, test.want)
		}
		if inside := name == "inside"; inside != strings.Contains(string(out), "outside this container") {
			t.Errorf("%s: %s", name, out)
		}
	}
	p.Stop(t)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

// TestExplainOrder: all that is in the way is listed, the decisive one first.
func TestExplainOrder(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
	server, err := net.Listen("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := hold(t, os.Getuid(), "listen", "127.0.0.2:20000", testnet.NoOption)
	e := explained(t, failed(t, reuse.Addr, "tcp4", ":20000"))
	wantCause(t, e, inuse.CauseListener, 2)
	if e.Holders[0].State != "LISTEN" || e.Holders[1].State != "ESTABLISHED" {
		t.Errorf("%+v", e.Holders)
	}
	p.Stop(t)
	e = explained(t, failed(t, reuse.Addr, "tcp4", ":20000"))
	wantCause(t, e, inuse.CauseOutgoing, 1)
}

// TestExplainFree: it is free by the time it is explained.
func TestExplainFree(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		p := hold(t, os.Getuid(), kind, "127.0.0.1:9999", testnet.NoOption)
		err := failed(t, reuse.Addr, network, "127.0.0.1:9999")
		p.Stop(t)
		wantCause(t, explained(t, err), inuse.CauseFree, 0)
		listens(t, reuse.Addr, network, "127.0.0.1:9999")
	}
}
