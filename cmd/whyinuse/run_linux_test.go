package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
)

// ran runs whyinuse in this process.
func ran(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCode(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	for _, test := range []struct {
		args   string
		code   int
		stdout string // how it begins
		stderr string // all of it
	}{
		{"127.0.0.1:9998", exitFree, "Port 9998 on 127.0.0.1 is free.\n", ""},
		{"127.0.0.1:9999", exitInUse, "Port 9999 on 127.0.0.1 is in use by ", ""},
		{"9999", exitInUse, "Port 9999 is in use by ", ""},
		{"udp 9999", exitFree, "UDP port 9999 is free.\n", ""},
		{"-wait 1ms 127.0.0.1:9998", exitFree, "Port 9998 on 127.0.0.1 is free.\n", ""},
		{"app.sock", exitWrong, "", `whyinuse: "app.sock" is no address; for a file: whyinuse ./app.sock` + "\n"},
		{"9998 99999", exitWrong, "", `whyinuse: "99999" is no port: ports go up to 65535` + "\n"},
		{"-x", exitWrong, "", "whyinuse: unknown option -x; whyinuse -h shows all\n"},
		{"-wait 30 9999", exitWrong, "", "whyinuse: -wait takes a time with its unit: -wait 30s\n"},
		{"tcp4:[::1]:80", exitWrong, "", "whyinuse: ::1 is no IPv4 address\n"},
		{"tcp4:[::1]:80 9999", exitWrong, "Port 9999 is in use by ", "whyinuse: ::1 is no IPv4 address\n"},
		{"-h", exitFree, "Usage: whyinuse ", ""},
		{"9999 --help", exitFree, "Usage: whyinuse ", ""},
		{"", exitFree, "PORT     ADDRESS   WHO", ""},
	} {
		code, stdout, stderr := ran(t, strings.Fields(test.args)...)
		if code != test.code || !strings.HasPrefix(stdout, test.stdout) || (stdout == "") != (test.stdout == "") || stderr != test.stderr {
			t.Errorf("%s: exit code %d, %q, %q; want %d, %q, %q", test.args, code, stdout, stderr, test.code, test.stdout, test.stderr)
		}
		p := testnet.Start(t, os.Getuid(), "whyinuse", strings.Fields(test.args)...)
		if code, lines := p.End(t); code != test.code || !strings.HasPrefix(strings.Join(append(lines, ""), "\n"), strings.SplitAfter(test.stdout, "\n")[0]) {
			t.Errorf("%s: as a process: exit code %d, %q; want %d", test.args, code, lines, test.code)
		}
	}
}

// Several addresses: a look each, the worst exit code.
func TestSeveral(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	code, stdout, _ := ran(t, "udp:9997", "127.0.0.1:9999", "udp:9996")
	parts := strings.Split(stdout, "\n\n")
	if code != exitInUse || len(parts) != 3 || !strings.HasPrefix(parts[0], "UDP port 9997 is free.") ||
		!strings.HasPrefix(parts[1], "Port 9999 on 127.0.0.1 is in use") || !strings.HasPrefix(parts[2], "UDP port 9996 is free.") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	code, stdout, stderr := ran(t, "-json", "udp:9997", "127.0.0.1:9999", "tcp4:[::1]:80")
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if code != exitWrong || len(lines) != 3 || stderr != "whyinuse: ::1 is no IPv4 address\n" {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	for i, code := range []int{exitFree, exitInUse, exitWrong} {
		o := parsed(t, code, lines[i])
		if want := []string{":9997", "127.0.0.1:9999", "[::1]:80"}[i]; o.Address != want {
			t.Errorf("address %s, want %s", o.Address, want)
		}
	}
}

// An object in every case.
func TestWrongJSON(t *testing.T) {
	for _, args := range []string{"-json app.sock", "99999 -json", "-json -x", "sctp --json 80", "-json -wait 8080", "-json tcp6:127.0.0.1:80"} {
		code, stdout, stderr := ran(t, strings.Fields(args)...)
		o := parsed(t, code, stdout)
		if stderr != "whyinuse: "+o.Error+"\n" || o.Error == "" || o.Free != nil {
			t.Errorf("%s: %q, %q", args, stdout, stderr)
		}
	}
}

// What -h prints is what there is.
func TestUsage(t *testing.T) {
	for line := range strings.Lines(usage) {
		if n := len(line); n > 101 {
			t.Errorf("%d columns: %s", n, line)
		}
		example, _, ok := strings.Cut(strings.TrimPrefix(line, "  whyinuse"), "   ")
		if !ok || !strings.HasPrefix(line, "  whyinuse ") {
			continue
		}
		if _, err := parseArguments(strings.Fields(example)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// The output that cannot be written is not taken for an answer.
func TestFullDisk(t *testing.T) {
	testnet.NeedTables(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("needs /dev/full: %v", err)
	}
	defer full.Close()
	for _, args := range []string{"udp:127.0.0.1:9", "-json udp:127.0.0.1:9", "-h", "", "-json", "-json app.sock"} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), full, &stderr); code != exitWrong || !strings.Contains(stderr.String(), "whyinuse: the output cannot be written: no space left on device\n") {
			t.Errorf("%s: %d, %q", args, code, &stderr)
		}
		if run(t.Context(), strings.Fields(args), &stdout, &stderr); stdout.Len() == 0 {
			t.Errorf("control: %s prints nothing", args)
		}
	}
}

// Everything that listens, as another user and as the same.
func TestList(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	if code, stdout, _ := ran(t); code != exitFree || stdout != "Nothing listens on this machine.\n" {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	mine := hold(t, 0, "tcp4", "127.0.0.1:9999", "none")
	others := hold(t, nobody, "udp", ":5353", "none")
	want := map[string]int{"127.0.0.1:9999": mine.Process.Pid, "[::]:5353": others.Process.Pid}
	for _, uid := range []int{0, nobody} {
		code, lines := testnet.Start(t, uid, "whyinuse", "-json").End(t)
		var l listing
		if err := json.Unmarshal([]byte(strings.Join(lines, "\n")), &l); err != nil || code != exitFree || len(l.Listening) != 2 {
			t.Fatalf("%v, exit code %d, %q", err, code, lines)
		}
		checkSchema(t, lines[0])
		for _, s := range l.Listening {
			seen := len(s.Processes) == 1 && s.Processes[0].PID == want[s.Local]
			if may := uid == 0 || s.UID == uid; may != seen || may == strings.HasPrefix(s.Remedy.Kind, "look-") || may != strings.HasPrefix(s.Remedy.Command, "kill ") {
				t.Errorf("to user %d: %+v", uid, s)
			}
		}
		if (uid == 0) != (len(l.Unseen) == 0) {
			t.Errorf("to user %d: not seen: %q", uid, l.Unseen)
		}
		_, lines = testnet.Start(t, uid, "whyinuse").End(t)
		age := regexp.MustCompile(`\d+ s +`) // of a second look, which comes later
		if text := strings.Join(append(lines, ""), "\n"); age.ReplaceAllString(text, "") != age.ReplaceAllString(l.Text, "") || strings.Contains(text, "sudo whyinuse 9999") != (uid == nobody) {
			t.Errorf("to user %d:\n%s", uid, text)
		}
	}
}

// A name for a host is all of its addresses.
func TestLocalhost(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	want(t, tellHere(t, "localhost:9999"), "free", 0, "Port 9999 on localhost is free.")
	p := hold(t, os.Getuid(), "tcp6", "[::1]:9999", "none")
	o := tellHere(t, "http://localhost:9999/")
	want(t, o, "listener", 1, "Port 9999 on localhost is in use by ", fmt.Sprintf("(pid %d) listens on [::1]:9999", p.Process.Pid),
		"Note: 127.0.0.1:9999 is free: localhost has two addresses.\n")
	if o.Address != "localhost:9999" {
		t.Errorf("address %s", o.Address)
	}
	// As it says, so it is.
	ln, err := net.Listen("tcp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	p.Stop(t)
	want(t, tellHere(t, "localhost:9999"), "free", 0)
}

// A name with control characters does not reach the terminal.
func TestPrintable(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	do(t, p, "rename")
	o := tellHere(t, "127.0.0.1:9999")
	want(t, o, "listener", 1)
	_, list, _ := ran(t)
	for _, s := range []string{o.Text, list} {
		if strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && clean(string(r)) != string(r) }) {
			t.Errorf("%q", s)
		}
	}
	if o.Holders[0].Processes[0].Command == "" {
		t.Errorf("no command: %+v", o)
	}
}
