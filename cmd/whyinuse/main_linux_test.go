package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{
		"whyinuse": func([]string) error {
			main()
			return nil
		},
		// The tests read what the program prints to its standard error.
		"whyinuse 2>&1": func([]string) error {
			os.Stderr = os.Stdout
			main()
			return nil
		},
		"holder": holderProgram,
		"heir":   heirProgram,
		"client": clientProgram,
		"actor":  actorProgram,
		"ask":    askProgram,
		"binder": binderProgram,
		"shell": func(args []string) error {
			return exec.Command("sh", "-c", args[0]).Run()
		},
	})
}

// guard is how long a test waits for what has to happen, before it fails.
const guard = time.Minute

const nobody = 65534

// The options of a socket that a test opens.
type options []int

var (
	none options
	addr = options{unix.SO_REUSEADDR}
	port = options{unix.SO_REUSEPORT}
)

// config opens sockets with exactly these options, package net's not included.
func (o options) config() *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
			for _, option := range o {
				failed = errors.Join(failed, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1))
			}
		})
		return errors.Join(err, failed)
	}}
}

// holderProgram opens a socket: its arguments are network, address, and "none",
// "addr" or "port". At each line that it reads it does what that says: "close"
// it, have an "heir", or "rename" itself to what would clear a terminal.
func holderProgram(args []string) error {
	sock, err := open(args[0], args[1], map[string]options{"none": none, "addr": addr, "port": port}[args[2]])
	if err != nil {
		return err
	}
	fmt.Println("ok")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "close":
			sock.Close()
		case "rename":
			if err := os.WriteFile("/proc/self/comm", []byte("\x1b[2J\nfree é"), 0); err != nil {
				return err
			}
		case "heir":
			f, err := sock.(*net.TCPListener).File()
			if err != nil {
				return err
			}
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=heir")
			cmd.ExtraFiles = []*os.File{f}
			if _, err := cmd.StdinPipe(); err != nil { // at its end the heir ends
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
		}
		fmt.Println("ok")
	}
	return lines.Err()
}

func heirProgram([]string) error {
	bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// clientProgram is connected to an address.
func clientProgram(args []string) error {
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("ok")
	bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// open listens, on UDP too.
func open(network, address string, o options) (interface{ Close() error }, error) {
	ctx := context.Background()
	if strings.HasPrefix(network, "udp") || network == "unixgram" {
		return o.config().ListenPacket(ctx, network, address)
	}
	return o.config().Listen(ctx, network, address)
}

// hold lets a process of user uid hold an address.
func hold(t testing.TB, uid int, network, address, options string) *testnet.Process {
	t.Helper()
	p := testnet.Start(t, uid, "holder", network, address, options)
	if line := p.Line(t); line != "ok" {
		t.Fatalf("holder: %q", line)
	}
	return p
}

// do lets a holder do something.
func do(t testing.TB, p *testnet.Process, what string) {
	t.Helper()
	fmt.Fprintln(p.In, what)
	if line := p.Line(t); line != "ok" {
		t.Fatalf("holder: %s: %q", what, line)
	}
}

// tell runs whyinuse -json as user uid, in a process of its own.
func tell(t testing.TB, uid int, args ...string) object {
	t.Helper()
	code, lines := testnet.Start(t, uid, "whyinuse", append([]string{"-json"}, args...)...).End(t)
	return parsed(t, code, strings.Join(lines, "\n"))
}

// tellHere runs whyinuse -json in this process.
func tellHere(t testing.TB, args ...string) object {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"-json"}, args...), &stdout, &stderr)
	if stderr.Len() > 0 {
		t.Errorf("on standard error: %s", &stderr)
	}
	return parsed(t, code, stdout.String())
}

// parsed reads one object, and checks what is so of each.
func parsed(t testing.TB, code int, text string) (o object) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, text)
	}
	checkSchema(t, text)
	want := exitInUse
	switch {
	case o.Free == nil:
		want = exitWrong
	case *o.Free:
		want = exitFree
	}
	if code != want || (o.Free == nil) != (o.Cause == "unknown" || o.Error != "") || (o.Free != nil && *o.Free) != (o.Cause == "free") {
		t.Errorf("exit code %d with %s", code, text)
	}
	if (o.Error == "") != (o.Text != "") {
		t.Errorf("incomplete: %s", text)
	}
	for _, h := range o.Holders {
		if h.Name == "" || h.State == "" || h.Network == "" || h.Count < 1 {
			t.Errorf("incomplete: %s", text)
		}
	}
	t.Log(o.Text)
	return o
}

// want fails the test unless o has the cause and n holders, and says all of parts.
func want(t testing.TB, o object, cause string, n int, parts ...string) {
	t.Helper()
	if string(o.Cause) != cause || len(o.Holders) != n {
		t.Errorf("cause %q with %d holders, want %q with %d: %s", o.Cause, len(o.Holders), cause, n, o.Text)
	}
	for _, part := range parts {
		if !strings.Contains(o.Text, part) {
			t.Errorf("%q does not say %q", o.Text, part)
		}
	}
}
