package shard_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/shard"
	"golang.org/x/sys/unix"
)

// rawInstruction has the fields of bpf.RawInstruction.
type rawInstruction struct {
	Op     uint16
	Jt, Jf uint8
	K      uint32
}

// Every datagram comes to the socket of the CPU that its sender was pinned to.
// The kernel's hash, before and after, is the control.
func TestByCPU(t *testing.T) {
	needSteering(t)
	testnet.Namespace(t)
	datagrams := testnet.Rounds(1000, 200) // for each CPU and each n
	all := cpus(t)
	var steered, hashed int
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		for n := 1; n <= len(all)+2; n++ {
			socks, err := shard.ListenPacket("udp", address, n)
			if err != nil {
				t.Fatal(err)
			}
			wrong := func() (wrong int) {
				for _, cpu := range all {
					counts := send(t, socks, cpu, datagrams)
					wrong += datagrams - counts[cpu%n]
				}
				return wrong
			}
			hashed += wrong()
			if err := shard.ByCPU(socks); err != nil {
				t.Fatalf("%s, %d sockets: %v", address, n, err)
			}
			if w := wrong(); w != 0 {
				t.Errorf("%s, %d sockets on %d CPUs: %d datagrams at the wrong socket", address, n, len(all), w)
			}
			steered += datagrams * len(all)
			if err := shard.ByHash(socks); err != nil {
				t.Fatal(err)
			}
			if w := wrong(); w == 0 && n > 1 {
				t.Errorf("%s, %d sockets: still steered after ByHash", address, n)
			}
			closeAll(socks)
		}
	}
	t.Logf("%d datagrams steered; by hash, %d of as many were at another socket", steered, hashed)
	if hashed == 0 {
		t.Error("the control steers, too")
	}
}

// send sends datagrams from one CPU, from as many ports, and returns how many came
// to each socket.
func send(t testing.TB, socks []*net.UDPConn, cpu, datagrams int) []int {
	t.Helper()
	counts := make([]int, len(socks))
	const batch = 50
	port := socks[0].LocalAddr().(*net.UDPAddr).Port
	host := "127.0.0.1"
	if ip := socks[0].LocalAddr().(*net.UDPAddr).IP; ip.To4() == nil && !ip.IsUnspecified() {
		host = ip.String()
	}
	for sent := 0; sent < datagrams; sent += batch {
		pin(t, cpu, func() {
			for range batch / 5 {
				client := dialUDP(t, net.JoinHostPort(host, fmt.Sprint(port)))
				for range 5 {
					if _, err := client.Write([]byte("datagram")); err != nil {
						t.Fatal(err)
					}
				}
				client.Close()
			}
		})
		for i, n := range take(t, socks, batch) {
			counts[i] += n
		}
	}
	return counts
}

// The same for connections.
func TestByCPUConnections(t *testing.T) {
	needSteering(t)
	testnet.Namespace(t)
	all := cpus(t)
	for n := 1; n <= len(all)+2; n++ {
		lns, err := shard.Listen("tcp", "127.0.0.1:0", n)
		if err != nil {
			t.Fatal(err)
		}
		for _, steer := range []bool{true, false} {
			if steer {
				err = shard.ByCPU(lns)
			} else {
				err = shard.ByHash(lns)
			}
			if err != nil {
				t.Fatal(err)
			}
			wrong := 0
			for _, cpu := range all {
				counts := connect(t, lns, cpu, 100)
				wrong += 100 - counts[cpu%n]
			}
			if steer && wrong > 0 || !steer && wrong == 0 && n > 1 {
				t.Errorf("%d listeners, steered %v: %d connections at another listener", n, steer, wrong)
			}
		}
		closeAll(lns)
	}
}

// connect makes connections from one CPU, and returns how many each listener has
// accepted.
func connect(t testing.TB, lns []*net.TCPListener, cpu, connections int) []int {
	t.Helper()
	counts := make([]int, len(lns))
	for range connections {
		var client net.Conn
		pin(t, cpu, func() {
			var err error
			if client, err = net.Dial("tcp", lns[0].Addr().String()); err != nil {
				t.Fatal(err)
			}
		})
		counts[accept(t, lns)]++
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
	}
	return counts
}

// accept accepts a connection, and returns by which listener.
func accept(t testing.TB, lns []*net.TCPListener) int {
	t.Helper()
	var poll []unix.PollFd
	for _, ln := range lns {
		c, err := ln.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		c.Control(func(fd uintptr) { poll = append(poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}) })
	}
	for {
		if _, err := unix.Poll(poll, 10_000); err == unix.EINTR {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for i, p := range poll {
			if p.Revents != 0 {
				conn, err := lns[i].Accept()
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				return i
			}
		}
		t.Fatal("no connection came")
	}
}

// Sockets that joined a port before those that had it left are not in the kernel's
// order, nor are those that are given in another one. A group with somebody else
// is refused, and so is a part of one.
func TestByCPUOrder(t *testing.T) {
	needSteering(t)
	testnet.Namespace(t)
	all := cpus(t)
	if len(all) < 2 {
		t.Skip("needs two CPUs")
	}
	before, err := reuse.Port.ListenPacket("udp", "127.0.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	socks, err := shard.ListenPacket("udp", "127.0.0.1:9999", 4)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(socks)
	if err := shard.ByCPU(socks); !errors.Is(err, shard.ErrShared) {
		t.Errorf("with somebody else: %v", err)
	}
	before.Close()
	if err := shard.ByCPU(socks[:2]); !errors.Is(err, shard.ErrShared) {
		t.Errorf("a part: %v", err)
	}
	misplaced := func(socks []*net.UDPConn) (wrong int) {
		for _, cpu := range all {
			wrong += 500 - send(t, socks, cpu, 500)[cpu%len(socks)]
		}
		return wrong
	}
	if err := shard.ByCPU(socks); err != nil {
		t.Fatal(err)
	}
	if wrong := misplaced(socks); wrong != 0 {
		t.Errorf("after the one before had left: %d datagrams at the wrong socket", wrong)
	}
	if err := shard.Steer(socks, []rawInstruction{{Op: 0x06, K: 0}}); err != nil {
		t.Fatal(err)
	}
	if counts := send(t, socks, all[0], 500); counts[0] != 500 {
		t.Errorf("ret #0: %v", counts)
	}
	socks[0].Close() // the last one moves to its place
	socks = socks[1:]
	if err := shard.ByCPU(socks); err != nil {
		t.Fatal(err)
	}
	if wrong := misplaced(socks); wrong != 0 {
		t.Errorf("after the first had left: %d datagrams at the wrong socket", wrong)
	}
	socks[0], socks[2] = socks[2], socks[0]
	if wrong := misplaced(socks); wrong == 0 {
		t.Error("the control: in another order every datagram is where it should be, too")
	}
	if err := shard.ByCPU(socks); err != nil {
		t.Fatal(err)
	}
	if wrong := misplaced(socks); wrong != 0 {
		t.Errorf("in another order: %d datagrams at the wrong socket", wrong)
	}
}

// A program that the kernel does not take, sockets that have none, and no
// program at all.
func TestSteerFails(t *testing.T) {
	needSteering(t)
	testnet.Namespace(t)
	socks, err := shard.ListenPacket("udp", "127.0.0.1:0", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(socks)
	for name, program := range map[string][]rawInstruction{
		"none":          nil,
		"unknown":       {{Op: 0xff}},
		"no return":     {{Op: 0x00}},
		"jumps too far": {{Op: 0x05, K: 7}, {Op: 0x06}},
		"too long":      make([]rawInstruction, 4097),
	} {
		if err := shard.Steer(socks, program); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", name, err)
		}
	}
	if err := shard.ByCPU([]*net.UDPConn{}); err == nil {
		t.Error("no sockets can be steered to")
	}
	alone, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if err := shard.ByCPU([]*net.UDPConn{alone}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without SO_REUSEPORT: %v", err)
	}
	// After all that, nothing is left of it, and it works.
	if counts := send(t, socks, cpus(t)[0], 500); counts[0] == 0 || counts[1] == 0 {
		t.Errorf("after failures: %v", counts)
	}
	if err := shard.Steer(socks, []rawInstruction{{Op: 0x06, K: 1}}); err != nil {
		t.Fatal(err)
	}
	if counts := send(t, socks, cpus(t)[0], 500); counts[1] != 500 {
		t.Errorf("ret #1: %v", counts)
	}
	socks[1].Close()
	if err := shard.ByCPU(socks); !errors.Is(err, net.ErrClosed) {
		t.Errorf("with a closed socket: %v", err)
	}
}
