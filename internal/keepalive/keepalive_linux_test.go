package keepalive

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Where the kernel refuses an option, the listener is net's: the same protocol,
// without keep-alive, which net sets on what is accepted.
func TestRefused(t *testing.T) {
	theirs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	for _, refuse := range []bool{true, false} {
		if !refuse && !Inherited() {
			continue // Listen does not come here
		}
		calls := 0
		set := set
		if refuse {
			set = func(uintptr) error { return unix.EOPNOTSUPP }
		}
		config := net.ListenConfig{Control: func(string, string, syscall.RawConn) error { calls++; return nil }}
		ln, err := listen(context.Background(), &config, "tcp", "127.0.0.1:0", set)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if calls != 1 {
			t.Errorf("refused %v: the caller's hook ran %d times", refuse, calls)
		}
		if got, want := option(t, ln, unix.SO_PROTOCOL), option(t, theirs, unix.SO_PROTOCOL); got != want {
			t.Errorf("refused %v: protocol %d, net's %d", refuse, got, want)
		}
		if holds := option(t, ln, unix.SO_KEEPALIVE) != 0; holds == refuse {
			t.Errorf("refused %v: the listener has keep-alive: %v", refuse, holds)
		}
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if option(t, accepted, unix.SO_KEEPALIVE) == 0 {
			t.Errorf("refused %v: a connection without keep-alive", refuse)
		}
	}
}

// The caller's hook fails, and its error is the listener's.
func TestHookFails(t *testing.T) {
	failure := errors.New("failure")
	config := net.ListenConfig{Control: func(string, string, syscall.RawConn) error { return failure }}
	if _, err := Listen(context.Background(), config, "tcp", "127.0.0.1:0"); !errors.Is(err, failure) {
		t.Errorf("%v, want the hook's error", err)
	}
}

func TestIsGVisor(t *testing.T) {
	const date = "#1 SMP Sun Jan 10 15:06:54 PST 2016"
	for _, test := range []struct {
		release, version string
		want             bool
	}{
		{"4.19.0-gvisor", date, true},
		{"5.15.0-gvisor", date, true},
		{"4.4.0", date, true}, // until 2025
		{"4.4.0", "#1 SMP Mon Jan 11 00:23:25 UTC 2016", false},
		{"4.4.0-210-generic", "#242-Ubuntu SMP Fri Apr 16 09:57:56 UTC 2021", false},
		{"4.18.0-553.el8_10.x86_64", "#1 SMP Fri May 10 15:19:13 EDT 2024", false}, // RHEL 8
		{"4.19.0-27-cloud-amd64", "#1 SMP Debian 4.19.316-1 (2024-06-25)", false},
		{"6.18.44", "#1 SMP PREEMPT_DYNAMIC", false},
		{"", "", false},
	} {
		if got := isGVisor(test.release, test.version); got != test.want {
			t.Errorf("%s %s: %v", test.release, test.version, got)
		}
	}
}

func option(t *testing.T, sock any, name int) (value int) {
	t.Helper()
	c, err := sock.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = c.Control(func(fd uintptr) { value, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, name) })
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return value
}
