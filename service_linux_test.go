package reuse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
)

// service is a process that opens sockets of all kinds in the directory args[0], and
// prints what came of it.
func service(args []string) error {
	if err := os.Chdir(args[0]); err != nil {
		return err
	}
	for _, m := range []reuse.Mode{0, reuse.Addr, reuse.Port, reuse.Addr | reuse.Port} {
		for _, network := range []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"} {
			fmt.Println(m, network, twice(m, network, ":0"))
		}
		for _, network := range []string{"unix", "unixpacket", "unixgram"} {
			fmt.Println(m, network, twice(m, network, fmt.Sprint(network, uint8(m))))
			fmt.Println(m, network, "abstract", twice(m, network, fmt.Sprint("@reuse-service-", network, os.Getpid())))
			// What net's sockets leave behind when they are not unlinked.
			path := fmt.Sprint("stale", network, uint8(m))
			old, err := serve(0, network, path)
			if err != nil {
				return err
			}
			if ln, ok := old.(*net.UnixListener); ok {
				ln.SetUnlinkOnClose(false)
			}
			old.Close()
			fmt.Println(m, network, "stale", once(m, network, path))
		}
		fmt.Println(m, "left over", leftOver(m))
		fmt.Println(m, "over another UDP socket", overUDP(m))
		config := m.ListenConfig()
		ln, err := config.Listen(context.Background(), "tcp", ":0")
		fmt.Println(m, "ListenConfig", err)
		if err == nil {
			ln.Close()
		}
		fmt.Println(m, reuse.Balances("tcp", ":0"))
	}
	return nil
}

// serve opens a socket.
func serve(m reuse.Mode, network, address string) (io.Closer, error) {
	if strings.HasPrefix(network, "udp") || network == "unixgram" {
		return m.ListenPacket(network, address)
	}
	return m.Listen(network, address)
}

// wordOf returns an error without what differs from one run to another.
func wordOf(err error) string {
	switch {
	case err == nil:
		return "opened"
	case errors.Is(err, errors.ErrUnsupported):
		return "unsupported"
	case errors.Is(err, syscall.EADDRINUSE):
		return "in use"
	}
	return err.Error()
}

// once opens a socket and closes it.
func once(m reuse.Mode, network, address string) string {
	s, err := serve(m, network, address)
	if err == nil {
		s.Close()
	}
	return wordOf(err)
}

// twice opens a socket, a second one beside it, and, when these are closed, a third.
func twice(m reuse.Mode, network, address string) string {
	first, err := serve(m, network, address)
	if err != nil {
		return wordOf(err)
	}
	switch s := first.(type) {
	case net.Listener:
		address = s.Addr().String()
	case net.PacketConn:
		address = s.LocalAddr().String()
	}
	beside := once(m, network, address)
	first.Close()
	os.Remove(address) // of unixgram, which does not
	return beside + ", " + once(m, network, address)
}

// leftOver listens where connections of a former listener are left.
func leftOver(m reuse.Mode) string {
	ln, err := m.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return wordOf(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		return wordOf(err)
	}
	defer client.Close()
	conn, err := ln.Accept()
	if err != nil {
		return wordOf(err)
	}
	ln.Close()
	conn.Close()
	return once(m, "tcp4", ln.Addr().String())
}

// overUDP opens UDP sockets at a port where others have SO_REUSEADDR.
func overUDP(m reuse.Mode) string {
	config := net.ListenConfig{Control: testnet.ReuseAddr.Control}
	there, err := config.ListenPacket(context.Background(), "udp4", "127.0.0.1:0")
	if err != nil {
		return wordOf(err)
	}
	defer there.Close()
	var outcomes [2]string
	together(len(outcomes), func(i int) { outcomes[i] = once(m, "udp4", there.LocalAddr().String()) })
	return fmt.Sprint(outcomes)
}

// In a service that systemd has restricted, everything is as outside.
func TestService(t *testing.T) {
	users := []int{os.Getuid()}
	if users[0] == 0 {
		users = append(users, nobody)
	}
	for _, uid := range users {
		run := func(t *testing.T, start func(dir string) *testnet.Process) (lines []string) {
			dir, err := os.MkdirTemp("/tmp", "reuse")
			if err == nil {
				t.Cleanup(func() { os.RemoveAll(dir) })
				err = os.Chown(dir, uid, -1)
			}
			if err != nil {
				t.Fatal(err)
			}
			p := start(dir)
			for line := p.Line(t); line != ""; line = p.Line(t) {
				lines = append(lines, line)
			}
			p.Survived(t)
			if left, _ := filepath.Glob(filepath.Join(dir, "*.reuse-lock")); left != nil {
				t.Errorf("it leaves %q", left)
			}
			return lines
		}
		outside := run(t, func(dir string) *testnet.Process { return testnet.Start(t, uid, "service", dir) })
		if len(outside) < 50 || !slices.Contains(outside, "Addr unix stale opened") {
			t.Fatalf("outside: %q", outside)
		}
		for _, s := range testnet.KillSandboxes() {
			t.Run(fmt.Sprintf("%v, user %d", s, uid), func(t *testing.T) {
				t.Parallel()
				inside := run(t, func(dir string) *testnet.Process { return testnet.StartSandboxed(t, s, uid, "service", dir) })
				for i, line := range inside {
					if line != outside[i] {
						t.Errorf("%q, outside %q", line, outside[i])
					}
				}
				if len(inside) != len(outside) {
					t.Errorf("%d of %d lines, the last %q", len(inside), len(outside), inside[len(inside)-1])
				}
			})
		}
	}
}
