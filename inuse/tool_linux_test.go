package inuse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
)

// needTool skips the test where the tool is not installed.
func needTool(t testing.TB, tool tool) {
	t.Helper()
	if !slices.ContainsFunc(tool.paths, func(path string) bool { _, err := os.Stat(path); return err == nil }) {
		t.Skipf("none of %s is installed", strings.Join(tool.paths, ", "))
	}
}

// toolScript returns a tool that is a shell script.
func toolScript(t testing.TB, text string) tool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return tool{paths: []string{"/nonexistent/tool", path}}
}

// started lets a process of user uid hold an address.
func started(t testing.TB, uid int, lines ...string) *testnet.Process {
	t.Helper()
	p := testnet.Start(t, uid, "holder")
	for _, line := range lines {
		fmt.Fprintln(p.In, line)
		if answer := p.Line(t); answer != "ok" {
			t.Fatalf("%s: %q", line, answer)
		}
	}
	return p
}

// TestLsof asks the real lsof who has a port, and what is said of it.
func TestLsof(t *testing.T) {
	testnet.Parallel(t)
	needTool(t, lsofUnix())
	needTool(t, ps())
	const uid = 2001
	user := os.Getuid()
	if user == 0 {
		user = uid
	}
	for _, test := range []struct {
		name, line, other string
		asked             attempt
		cause             Cause
		local             string
	}{
		{"all addresses", "listen 0.0.0.0:9999 false 0", "", asked("tcp", ":9999"), CauseListener, "0.0.0.0:9999"},
		{"one address", "listen 127.0.0.1:9999 false 0", "", asked("tcp", ":9999"), CauseOneAddress, "127.0.0.1:9999"},
		{"[::]", "listen [::]:9999 false 0", "", asked("tcp4", ":9999"), CauseDualStack, "[::]:9999"},
		{"IPv6", "listen [::1]:9999 true 0", "", asked("tcp", "[::1]:9999"), CauseListener, "[::1]:9999"},
		{"another IP version", "listen [::1]:9999 true 0", "", asked("tcp", "127.0.0.1:9999"), "", ""},
		{"another port", "listen 127.0.0.1:9998 false 0", "", asked("tcp", ":9999"), "", ""},
		{"UDP", "udp 127.0.0.1:9999 false 0", "", asked("udp", "127.0.0.1:9999"), CauseListener, "127.0.0.1:9999"},
		{"UDP is not TCP", "udp 127.0.0.1:9999 false 0", "", asked("tcp", "127.0.0.1:9999"), "", ""},
		{"two", "listen 127.0.0.1:9999 false 0", "listen 127.0.0.2:9999 false 0", asked("tcp", ":9999"), CauseListener, "127.0.0.1:9999"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.Parallel(t)
			testnet.Namespace(t)
			lines := []string{test.line}
			if test.other != "" {
				lines = append(lines, test.other)
			}
			p := started(t, user, lines...)
			s, err := test.asked.survey(t.Context(), "linux", newAsker())
			if err != nil {
				t.Fatal(err)
			}
			f := test.asked.judge(newAsker(), s)
			if f == nil || test.cause == "" {
				if f != nil || test.cause != "" {
					t.Fatalf("%+v, want %q", f, test.cause)
				}
				return
			}
			e := f.error()
			checkShape(t, e)
			h := e.Holders[0]
			if e.Cause != test.cause || h.Local.String() != test.local || h.UID != user || len(h.Processes) != 1 || h.Processes[0].PID != p.Process.Pid ||
				len(e.Holders) != len(lines) {
				t.Fatalf("%s", e.Text())
			}
			if q := h.Processes[0]; q.Parent != os.Getpid() || q.Started.IsZero() || q.uid != user {
				t.Errorf("process %+v", q)
			}
			if command := e.Remedies[0].Command; command != fmt.Sprintf("kill %d", p.Process.Pid) {
				t.Errorf("%q", command)
			}
			// What is advised is done, and helps.
			syscall.Kill(p.Process.Pid, syscall.SIGTERM)
			p.Wait()
			if s, err = test.asked.survey(t.Context(), "linux", newAsker()); err != nil {
				t.Fatal(err)
			}
			if f := test.asked.judge(newAsker(), s); f != nil {
				t.Errorf("when it has ended: %s", f.error().Text())
			}
		})
	}
}

// A socket of two processes, one of a suspended process, and this process's own.
func TestLsofProcesses(t *testing.T) {
	testnet.Parallel(t)
	needTool(t, lsofUnix())
	needTool(t, ps())
	testnet.Namespace(t)
	a := asked("tcp", ":9999")
	look := func() *Error {
		t.Helper()
		s, err := a.survey(t.Context(), "linux", newAsker())
		if err != nil {
			t.Fatal(err)
		}
		f := a.judge(newAsker(), s)
		if f == nil {
			t.Fatal("nobody has it")
		}
		return f.error()
	}
	p := started(t, os.Getuid(), "listen 0.0.0.0:9999 false 0")
	if e := look(); e.Cause != CauseListener {
		t.Errorf("%s", e.Text())
	}
	syscall.Kill(p.Process.Pid, syscall.SIGSTOP)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(p.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatal(err, status)
	}
	if e := look(); e.Holders[0].Processes[0].State != "stopped" || e.Remedies[0].Kind != "resume-and-stop" {
		t.Errorf("%s", e.Text())
	}
	syscall.Kill(p.Process.Pid, syscall.SIGCONT)
	fmt.Fprintln(p.In, "heir")
	var heir int
	fmt.Sscan(p.Line(t), &heir)
	e := look()
	if ps := e.Holders[0].Processes; e.Cause != CauseInherited || len(e.Holders) != 1 || len(ps) != 2 || ps[0].PID != p.Process.Pid || ps[0].Inherited ||
		ps[1].PID != heir || !ps[1].Inherited {
		t.Errorf("%s", e.Text())
	}
	p.Stop(t)

	ln, err := net.Listen("tcp", "127.0.0.1:9998")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a = asked("tcp", "127.0.0.1:9998")
	if e := look(); e.Cause != CauseSelf {
		t.Errorf("%s", e.Text())
	}
	a = a.checked()
	if e := look(); e.Cause != CauseListener {
		t.Errorf("%s", e.Text())
	}
}

// What lsof says of connections: whose port is at which end.
func TestLsofConnections(t *testing.T) {
	testnet.Parallel(t)
	needTool(t, lsofUnix())
	testnet.Namespace(t)
	ln, err := net.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	judge := func(port uint16) *finding {
		t.Helper()
		a := attempt{network: "tcp", local: netip.AddrPortFrom(netip.Addr{}, port), refusal: refusedInUse}
		s, err := a.survey(t.Context(), "linux", newAsker())
		if err != nil {
			t.Fatal(err)
		}
		s.ephemeral = func(p uint16) bool { return p != 9999 }
		return a.judge(newAsker(), s)
	}
	if f := judge(9999); f == nil || f.cause != CauseSelf || f.holders[0].State != "LISTEN" || len(f.holders) != 1 {
		t.Errorf("%+v", f)
	}
	ln.Close()
	if f := judge(9999); f == nil || f.cause != CauseConnection || f.holders[0].Remote != client.LocalAddr().(*net.TCPAddr).AddrPort() {
		t.Errorf("%+v", f)
	}
	if f := judge(uint16(client.LocalAddr().(*net.TCPAddr).Port)); f == nil || f.cause != CauseOutgoing {
		t.Errorf("%+v", f)
	}
	accepted.Close()
	client.Close()
	if f := judge(9999); f != nil {
		t.Errorf("%+v", f)
	}
}

// TestLsofPaths asks the real lsof who has a socket file.
func TestLsofPaths(t *testing.T) {
	t.Parallel()
	needTool(t, lsofUnix())
	dir := t.TempDir()
	path := filepath.Join(dir, "app.sock")
	abstract := fmt.Sprintf("@inuse-%d", os.Getpid())
	for _, name := range []string{path, abstract} {
		ln, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		// What whoever is connected has is no server.
		client, err := net.Dial("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path string
		has  bool
	}{
		{path, true},
		{filepath.Join(link, filepath.Base(path)), true},
		{"\x00" + abstract[1:], true},
		{path + "x", false},
		{abstract[1:], false},
	} {
		a := attempt{network: "unix", path: test.path}
		holders, whole, err := a.pathHoldersOn(t.Context(), test.path, "linux", newAsker())
		if err != nil {
			t.Fatal(err)
		}
		has := len(holders) == 1 && slices.ContainsFunc(holders[0].Processes, func(p Process) bool { return p.PID == os.Getpid() })
		if has != test.has || whole != (os.Getuid() == 0) || !test.has && len(holders) != 0 {
			t.Errorf("%q: %+v, %v", test.path, holders, whole)
		}
	}
}

// All that listens, by the real lsof.
func TestLsofList(t *testing.T) {
	testnet.Parallel(t)
	needTool(t, lsofUnix())
	testnet.Namespace(t)
	started(t, os.Getuid(), "listen 127.0.0.1:9999 false 0", "udp 127.0.0.1:9998 false 0")
	ln, err := net.Listen("tcp", "[::1]:9997")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", "[::1]:9997")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	holders, me, _, err := listeningOn(t.Context(), "linux")
	if err != nil || me.uid != os.Geteuid() {
		t.Fatal(err, me)
	}
	var got []string
	for _, h := range holders {
		// A process that another test starts has all sockets for a moment.
		got = append(got, fmt.Sprint(h.Network, " ", h.Local, " ", len(h.Processes) > 0))
	}
	slices.Sort(got)
	if want := []string{"tcp4 127.0.0.1:9999 true", "tcp6 [::1]:9997 true", "udp4 127.0.0.1:9998 true"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A bind without options, which says whether the address is free.
func TestBindPlain(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	ln, err := net.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, test := range []struct {
		asked   attempt
		refusal refusal
	}{
		{asked("tcp", "127.0.0.1:9999"), refusedInUse},
		{asked("tcp", ":9999"), refusedInUse},
		{asked("tcp4", ":9999"), refusedInUse},
		{asked("tcp6", ":9999"), 0},
		{asked("tcp", "[::1]:9999"), 0},
		{asked("tcp", "127.0.0.2:9999"), 0},
		{asked("tcp", ":9998"), 0},
		{asked("tcp", "192.0.2.1:9998"), refusedNotAvailable},
		{asked("tcp", "[fe80::1]:9998"), refusedInvalid},
	} {
		if got := refusalOf(test.asked.bindPlain()); got != test.refusal {
			t.Errorf("%s %v: %d, want %d", test.asked.network, test.asked.local, got, test.refusal)
		}
	}
	// It has listened nowhere, and holds nothing.
	if _, err := net.Dial("tcp", "127.0.0.1:9998"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}

// A look where nothing is seen: the trial decides what is said.
func TestSurveyed(t *testing.T) {
	testnet.Parallel(t)
	needTool(t, lsofUnix())
	testnet.Namespace(t)
	me := newAsker()
	inUse := func(attempt) error { return os.NewSyscallError("bind", syscall.EADDRINUSE) }
	free := func(attempt) error { return nil }
	for _, test := range []struct {
		name  string
		asked attempt
		trial func(attempt) error
		cause Cause
		text  string
	}{
		{"free", asked("tcp", ":9999").checked(), free, CauseFree, "Port 9999 is free.\n"},
		{"in use by what is not seen", asked("tcp", ":9999").checked(), inUse, CauseNoProcess,
			"Port 9999 is in use, and no process was found that has it.\n  a socket has [::]:9999\nNot seen: which process it is: the system shows no socket that has it.\n"},
		{"UDP that is not seen", asked("udp", ":9999").checked(), inUse, CauseFree, "UDP port 9999 is free.\n"},
	} {
		f := test.asked.surveyed(t.Context(), "linux", me, test.trial)
		if strings.HasPrefix(test.name, "UDP") && os.Getuid() != 0 {
			continue // other users' sockets are not seen
		}
		if f == nil || f.cause != test.cause || !strings.HasPrefix(f.error().Text(), test.text) {
			t.Errorf("%s: %+v", test.name, f)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, network := range []string{"tcp", "udp"} {
		f := asked(network, ":9999").checked().surveyed(ended, "linux", me, inUse)
		if f == nil || f.cause != CauseUnknown {
			t.Errorf("%s: %+v", network, f)
		}
	}
}

// TestTool runs tools that misbehave.
func TestTool(t *testing.T) {
	t.Parallel()
	short := func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	for _, test := range []struct {
		name, script string
		out          string
		bounded      bool  // by a short time
		err          error // nil: any if out is ""
	}{
		{"prints", "echo hello", "hello\n", false, nil},
		{"complains", "echo hello; echo warning >&2", "hello\n", false, nil},
		{"found nothing", "exit 1", "", false, nil},
		{"found something", "echo hello; echo warning >&2; exit 1", "hello\n", false, nil},
		{"wrong call", "echo usage >&2; exit 1", "", false, errors.ErrUnsupported},
		{"wrong call of another kind", "exit 2", "", false, errors.ErrUnsupported},
		{"killed", "kill -9 $$", "", false, errors.ErrUnsupported},
		{"hangs", "exec sleep 100", "", true, context.DeadlineExceeded},
		{"its child hangs, too", "sleep 5; echo", "", true, context.DeadlineExceeded},
		{"leaves a child with its output", "sleep 3 & echo hello", "", true, errors.ErrUnsupported},
		{"prints without end", "exec yes", "", false, errTooMuch},
		{"environment", "echo $HOME$LD_PRELOAD$LANG $LC_ALL $PATH; pwd", "C /usr/bin:/bin:/usr/sbin:/sbin\n/\n", false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if test.bounded {
				ctx = short(t)
			}
			out, err := toolScript(t, test.script).run(ctx)
			switch {
			case test.err == nil && (err != nil || string(out) != test.out):
				t.Errorf("%q, %v", out, err)
			case test.err != nil && err == nil:
				t.Errorf("%q, no error", out)
			case test.err != nil && test.err != errors.ErrUnsupported && !errors.Is(err, test.err):
				t.Errorf("%v, want %v", err, test.err)
			}
		})
	}
	if _, err := (tool{paths: []string{"/nonexistent/lsof", t.TempDir()}}).run(t.Context()); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "lsof") {
		t.Errorf("without the tool: %v", err)
	}
}
