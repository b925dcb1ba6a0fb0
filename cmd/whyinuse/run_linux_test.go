package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
)

func TestExitCode(t *testing.T) {
	testnet.NeedTables(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, test := range []struct {
		args  []string
		code  int
		first string // what the first line of the output says
	}{
		{[]string{"tcp", "127.0.0.1:0"}, exitFree, "tcp 127.0.0.1:0 is free"},
		{[]string{ln.Addr().String()}, exitInUse, "tcp " + ln.Addr().String() + " is in use: "},
		{[]string{"-wait", "1ms", ln.Addr().String()}, exitInUse, "waiting: tcp " + ln.Addr().String() + " is in use: "},
		{[]string{"-wait", "1ms", "tcp", "127.0.0.1:0"}, exitFree, "tcp 127.0.0.1:0 is free"},
		{nil, exitWrong, "one address is needed"},
		{[]string{"tcp", ":9999", "more"}, exitWrong, "one address is needed"},
		{[]string{"tcp", ":9999", "-json"}, exitWrong, "one address is needed"},
		{[]string{"tcp5", ":9999"}, exitWrong, "unknown network"},
		{[]string{"", ":9999"}, exitWrong, "unknown network"},
		{[]string{""}, exitWrong, "empty"},
		{[]string{"127.0.0.1"}, exitWrong, "missing port"},
		{[]string{":99999"}, exitWrong, "invalid port"},
		{[]string{"tcp4", "[::1]:9999"}, exitWrong, "no suitable address"},
		{[]string{"unix", ""}, exitWrong, "empty"},
		{[]string{"unix", "/" + strings.Repeat("x", 107)}, exitWrong, "at most 107 bytes"},
		{[]string{"name.invalid:9999"}, exitWrong, "name.invalid"},
		{[]string{"-wait", "soon", ":9999"}, exitWrong, "-wait"},
		{[]string{"-wait", "-1s", ":9999"}, exitWrong, "-wait is negative"},
		{[]string{"-port", "9999"}, exitWrong, "-port"},
		{[]string{"-h"}, exitWrong, "Usage"},
	} {
		p := testnet.Start(t, os.Getuid(), "whyinuse 2>&1", test.args...)
		code, lines := p.End(t)
		if code != test.code || len(lines) == 0 || !strings.Contains(lines[0], test.first) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", test.args, code, lines, test.code, test.first)
		}
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), test.args, &stdout, &stderr); code != test.code {
			t.Errorf("%q: run returns %d, want %d", test.args, code, test.code)
		}
		if (stdout.Len() > 0) != (test.code != exitWrong) || (test.code == exitWrong) != strings.Contains(stderr.String(), "Usage: ") {
			t.Errorf("%q: stdout %q, stderr %q", test.args, &stdout, &stderr)
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
	for _, args := range [][]string{{"127.0.0.1:0"}, {"-json", "127.0.0.1:0"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, full, &stderr); code != exitWrong || stderr.Len() == 0 {
			t.Errorf("%q: %d, %q", args, code, &stderr)
		}
		if code := run(t.Context(), args, &stdout, &stderr); code != exitFree || stdout.Len() == 0 {
			t.Errorf("control: %q: %d", args, code)
		}
	}
}

func TestParse(t *testing.T) {
	testnet.NeedTables(t)
	for _, test := range []struct{ args, want string }{
		{"9999", "tcp :9999 :9999"},
		{":9999", "tcp :9999 :9999"},
		{"udp 53", "udp :53 :53"},
		{"tcp :http", "tcp :http :80"},
		{"localhost:9999", "tcp localhost:9999 127.0.0.1:9999"},
		{"tcp6 [::1]:9999", "tcp6 [::1]:9999 [::1]:9999"},
		{"./x", "unix ./x ./x"},
		{"unixgram x", "unixgram x x"},
		{"unix @x", "unix @x @x"},
	} {
		got, err := parse(strings.Fields(test.args))
		if err != nil || fmt.Sprint(got.network, " ", got.address, " ", got.addr) != test.want {
			t.Errorf("%q: %v %v, %v, want %s", test.args, got, got.addr, err, test.want)
		}
	}
}

// A name with control characters does not reach the terminal.
func TestPrintable(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	do(t, p, "rename")
	o := tellHere(t, "127.0.0.1:9999")
	want(t, o, "listener", 1, "?[2J?free é (pid ")
	if command := o.Holders[0].Processes[0].Command; command != "?[2J?free é" {
		t.Errorf("command %q", command)
	}
}
