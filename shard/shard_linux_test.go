package shard_test

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/shard"
	"golang.org/x/sys/unix"
)

// Sockets have one address, as many of them as were asked for.
func TestListen(t *testing.T) {
	needSteering(t)
	testnet.Namespace(t)
	diag := openDiag(t)
	for _, test := range []struct {
		network, address string
		n, want          int
	}{
		{"tcp", "127.0.0.1:0", 3, 3},
		{"tcp", ":0", 0, runtime.GOMAXPROCS(0)},
		{"tcp4", ":0", 2, 2},
		{"tcp6", "[::1]:9999", 2, 2},
		{"tcp6", ":0", 2, 2},
		{"tcp", "localhost:0", 5, 5},
		{"tcp", "0.0.0.0:http", 2, 2},
		{"udp", "127.0.0.1:0", 3, 3},
		{"udp", ":0", 0, runtime.GOMAXPROCS(0)},
		{"udp4", "localhost:domain", 2, 2},
		{"udp6", "[::1]:+00", 2, 2},
		{"udp", ":9999", 1, 1},
	} {
		t.Log(test)
		if os.Getuid() != 0 && !strings.Contains("0123456789", test.address[len(test.address)-1:]) {
			continue // a port below 1024
		}
		var socks []interface {
			syscall.Conn
			Close() error
		}
		var addrs []string
		if test.network[0] == 't' {
			lns, err := shard.Listen(test.network, test.address, test.n)
			if err != nil {
				t.Fatal(err)
			}
			for _, ln := range lns {
				socks, addrs = append(socks, ln), append(addrs, ln.Addr().String())
			}
		} else {
			pcs, err := shard.ListenPacket(test.network, test.address, test.n)
			if err != nil {
				t.Fatal(err)
			}
			for _, pc := range pcs {
				socks, addrs = append(socks, pc), append(addrs, pc.LocalAddr().String())
			}
		}
		if len(socks) != test.want || len(slices.Compact(addrs)) != 1 {
			t.Errorf("%d sockets at %v, want %d at one address", len(socks), addrs, test.want)
		}
		if ours, members := membership(t, diag, socks); !members.Same(ours) {
			t.Errorf("sockets %v, but members %v", ours, members.All)
		}
		closeAll(socks)
	}
}

// A thousand groups, or a hundred, that are opened at once, TCP and UDP, have a port
// each, and no foreign member. Sockets that ask for port 0 with SO_REUSEPORT set are the
// control.
func TestGroups(t *testing.T) {
	needSteering(t)
	const each, controls = 3, 1000
	groups := testnet.Times(1000)
	allowFiles(t, uint64(2*groups*(each+1)+controls)) // the one is of sock_diag
	diag := openDiag(t)
	tcp, udp := make([][]*net.TCPListener, groups), make([][]*net.UDPConn, groups)
	var opening sync.WaitGroup
	for i := range groups {
		opening.Go(func() {
			var err error
			if tcp[i], err = shard.Listen("tcp", "127.0.0.1:0", each); err != nil {
				t.Error(err)
			}
			if udp[i], err = shard.ListenPacket("udp", "127.0.0.1:0", each); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	defer func() {
		for i := range groups {
			closeAll(tcp[i])
			closeAll(udp[i])
		}
	}()
	if t.Failed() {
		return
	}
	ports := map[string]bool{}
	for i := range groups {
		if ours, members := membership(t, diag, tcp[i]); !members.Same(ours) {
			t.Errorf("%v: sockets %v, but members %v", tcp[i][0].Addr(), ours, members.All)
		}
		if ours, members := membership(t, diag, udp[i]); !members.Same(ours) {
			t.Errorf("%v: sockets %v, but members %v", udp[i][0].LocalAddr(), ours, members.All)
		}
		ports["tcp "+tcp[i][0].Addr().String()] = true
		ports["udp "+udp[i][0].LocalAddr().String()] = true
	}
	if len(ports) != 2*groups {
		t.Errorf("%d ports, want %d", len(ports), 2*groups)
	}

	control := net.ListenConfig{Control: reuse.Port.Control}
	ports = map[string]bool{}
	for range controls {
		pc, err := control.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		ports[pc.LocalAddr().String()] = true
	}
	t.Logf("the control: %d sockets have %d ports", controls, len(ports))
	if len(ports) == controls {
		t.Error("in the control every socket has a port of its own, too")
	}
}

func allowFiles(t testing.TB, n uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	limit.Cur = n
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		limit.Max = n
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Skipf("needs %d open files: setrlimit: %v", n, err)
		}
	}
}

// When one socket cannot be opened, those before it are closed.
func TestFails(t *testing.T) {
	testnet.Namespace(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for name, open := range map[string]func() (int, error){
		"tcp": func() (int, error) {
			lns, err := shard.Listen("tcp", "127.0.0.1:9999", 100)
			closeAll(lns)
			return len(lns), err
		},
		"udp": func() (int, error) {
			pcs, err := shard.ListenPacket("udp", "127.0.0.1:9999", 100)
			closeAll(pcs)
			return len(pcs), err
		},
	} {
		if n, err := open(); n != 100 || err != nil { // the control
			t.Fatalf("%s: %d sockets, %v", name, n, err)
		}
		before := testnet.Descriptors(t)
		limit := unix.Rlimit{Cur: uint64(before + 20), Max: old.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		n, err := open()
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		if n != 0 || !errors.Is(err, unix.EMFILE) {
			t.Errorf("%s: %d sockets, %v, want EMFILE", name, n, err)
		}
		if now := testnet.Descriptors(t); now != before {
			t.Errorf("%s: %d descriptors, before it were %d", name, now, before)
		}
	}
}

// Errors are package net's.
func TestUnsupported(t *testing.T) {
	for _, test := range []struct {
		name        string
		f           func() error
		unsupported bool
	}{
		{"unix", func() error { _, err := shard.Listen("unix", "@reuse-shard", 2); return err }, true},
		{"unixgram", func() error { _, err := shard.ListenPacket("unixgram", "@reuse-shard", 2); return err }, true},
		{"ip", func() error { _, err := shard.ListenPacket("ip4:icmp", "127.0.0.1", 2); return err }, true},
		{"unknown", func() error { _, err := shard.Listen("udp", "127.0.0.1:0", 2); return err }, false},
		{"unknown packet", func() error { _, err := shard.ListenPacket("tcp", "127.0.0.1:0", 2); return err }, false},
		{"negative", func() error { _, err := shard.Listen("tcp", "127.0.0.1:0", -1); return err }, false},
		{"no port", func() error { _, err := shard.Listen("tcp", "127.0.0.1", 2); return err }, false},
	} {
		err := test.f()
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "listen" {
			t.Errorf("%s: %v is not package net's error", test.name, err)
		}
		if errors.Is(err, errors.ErrUnsupported) != test.unsupported {
			t.Errorf("%s: %v, want errors.ErrUnsupported: %v", test.name, err, test.unsupported)
		}
	}
	if ln, err := shard.Listen("tcp", "127.0.0.1:0", 1); err != nil {
		t.Error("the control:", err)
	} else {
		closeAll(ln)
	}
}

// Of many connections, from one address and as many ports, each of eight listeners
// gets about the same share. A program that prefers one is the control.
func TestBalance(t *testing.T) {
	testnet.Namespace(t)
	const listeners = 8
	connections := testnet.Rounds(20_000, 12_000) // so many that chance makes no difference of a fifth
	for _, unfair := range []bool{false, true} {
		lns, err := shard.Listen("tcp4", "127.0.0.1:9999", listeners)
		if err != nil {
			t.Fatal(err)
		}
		if unfair {
			needSteering(t)
			connections = testnet.Rounds(20_000, 2_000)
			// ld rand; and #15; jge #8, 0, 1; ld #0; ret a
			err := shard.Steer(lns, []rawInstruction{
				{Op: 0x20, K: 0xfffff000 + 56}, {Op: 0x54, K: 15}, {Op: 0x35, K: 8, Jf: 1}, {Op: 0x00}, {Op: 0x16},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		ratio, counts := balance(t, lns, connections)
		t.Logf("unfair %v: %v, max/min %.3f", unfair, counts, ratio)
		if fair := ratio <= 1.2; fair == unfair {
			t.Errorf("max/min is %.3f, of %v", ratio, counts)
		}
		closeAll(lns)
	}
}

// balance makes connections, and returns how many each listener accepted.
func balance(t testing.TB, lns []*net.TCPListener, connections int) (ratio float64, counts []int64) {
	t.Helper()
	accepted := make([]atomic.Int64, len(lns))
	var accepting sync.WaitGroup
	done := make(chan struct{}, 100)
	for i, ln := range lns {
		accepting.Go(func() {
			for {
				conn, err := ln.AcceptTCP()
				if err != nil {
					return
				}
				accepted[i].Add(1)
				done <- struct{}{}
				conn.Read(make([]byte, 1)) // until the client resets it
				conn.Close()
			}
		})
	}
	// A port that was used is not used again: the kernel goes by it.
	for port, made := 10_000, 0; made < connections; port++ {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}}
		conn, err := dialer.Dial("tcp4", lns[0].Addr().String())
		if errors.Is(err, unix.EADDRINUSE) && port < 2*connections {
			continue // where there are no namespaces
		}
		if err != nil {
			t.Fatal(err)
		}
		made++
		<-done
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	for _, ln := range lns {
		ln.Close()
	}
	accepting.Wait()
	for i := range accepted {
		counts = append(counts, accepted[i].Load())
	}
	return float64(slices.Max(counts)) / float64(max(slices.Min(counts), 1)), counts
}
