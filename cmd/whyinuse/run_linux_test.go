package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"example.com/reuse"
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
		{[]string{"tcp", "127.0.0.1:0"}, free, "tcp 127.0.0.1:0 is free"},
		{[]string{ln.Addr().String()}, inUse, "tcp " + ln.Addr().String() + " is in use: "},
		{[]string{"-wait", "1ms", ln.Addr().String()}, inUse, "waiting: tcp " + ln.Addr().String() + " is in use: "},
		{[]string{"-wait", "1ms", "tcp", "127.0.0.1:0"}, free, "tcp 127.0.0.1:0 is free"},
		{nil, wrong, "one address is needed"},
		{[]string{"tcp", ":9999", "more"}, wrong, "one address is needed"},
		{[]string{"tcp", ":9999", "-json"}, wrong, "one address is needed"},
		{[]string{"tcp5", ":9999"}, wrong, "unknown network"},
		{[]string{"", ":9999"}, wrong, "unknown network"},
		{[]string{""}, wrong, "empty"},
		{[]string{"127.0.0.1"}, wrong, "missing port"},
		{[]string{":99999"}, wrong, "invalid port"},
		{[]string{"tcp4", "[::1]:9999"}, wrong, "no suitable address"},
		{[]string{"unix", ""}, wrong, "empty"},
		{[]string{"unix", "/" + strings.Repeat("x", 107)}, wrong, "at most 107 bytes"},
		{[]string{"name.invalid:9999"}, wrong, "name.invalid"},
		{[]string{"-wait", "soon", ":9999"}, wrong, "-wait"},
		{[]string{"-wait", "-1s", ":9999"}, wrong, "-wait is negative"},
		{[]string{"-port", "9999"}, wrong, "-port"},
		{[]string{"-h"}, wrong, "Usage"},
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
		if (stdout.Len() > 0) != (test.code != wrong) || (test.code == wrong) != strings.Contains(stderr.String(), "Usage: ") {
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
		if code := run(t.Context(), args, full, &stderr); code != wrong || stderr.Len() == 0 {
			t.Errorf("%q: %d, %q", args, code, &stderr)
		}
		if code := run(t.Context(), args, &stdout, &stderr); code != free || stdout.Len() == 0 {
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
	h := reuse.Holder{State: "LISTEN", Processes: []reuse.Process{{PID: 1, Command: "\x1b[2J\nfree é"}}}
	got := text(target{network: "tcp", address: ":1"}, result{&reuse.InUseError{Err: errors.New("x"), Holders: []reuse.Holder{h}}, "reason"})
	if !strings.HasPrefix(got, "tcp :1 is in use: reason\n  ?[2J?free é (pid 1)") {
		t.Errorf("%q", got)
	}
}
