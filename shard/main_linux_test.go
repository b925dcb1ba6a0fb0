package shard_test

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/group"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/shard"
	"golang.org/x/sys/unix"
)

// TestMain leaves out the example that the system cannot run. It also runs the
// processes that tests start.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := lacks(); err != nil {
		fmt.Println("without ExampleSteer:", err)
		skip := flag.Lookup("test.skip").Value
		skip.Set(strings.Trim(skip.String()+"|^ExampleSteer$", "|"))
	}
	testnet.Main(m, map[string]func([]string) error{"service": service})
}

// lacks returns what package shard says that the system lacks for steering: nil, or
// an error for which errors.Is(err, errors.ErrUnsupported) holds.
func lacks() error {
	lns, err := shard.Listen("tcp4", "127.0.0.1:0", 2)
	if err != nil {
		return nil // the tests will tell
	}
	defer closeAll(lns)
	if err := shard.ByCPU(lns); errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// needSteering skips the test where the system cannot steer, and says so.
func needSteering(t testing.TB) {
	t.Helper()
	if err := lacks(); err != nil {
		t.Skipf("needs what TestUnsupportedSystem is about: %v", err)
	}
}

// A system that accepts the options and does nothing (gVisor), or does not have them
// (emulation of user mode), goes by its hash as ever, and nothing pretends to steer.
func TestUnsupportedSystem(t *testing.T) {
	if lacks() == nil {
		return // the other tests are about such a system
	}
	lns, err := shard.Listen("tcp4", "127.0.0.1:0", 4)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(lns)
	for name, f := range map[string]func() error{
		"ByCPU":  func() error { return shard.ByCPU(lns) },
		"ByHash": func() error { return shard.ByHash(lns) },
		"Steer":  func() error { return shard.Steer(lns, []rawInstruction{{Op: 0x06}}) },
	} {
		if err := f(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, want errors.ErrUnsupported", name, err)
		}
	}
	got := map[int]bool{}
	for range 100 {
		client, err := net.Dial("tcp4", lns[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		got[accept(t, lns)] = true
		client.Close()
	}
	if len(got) != len(lns) {
		t.Errorf("the listeners %v got connections, want all %d", got, len(lns))
	}
}

// dialUDP opens a client's UDP socket to address.
func dialUDP(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UDPConn)
}

// take reads n datagrams from socks, and returns how many came from each.
func take(t testing.TB, socks []*net.UDPConn, n int) []int {
	t.Helper()
	counts := make([]int, len(socks))
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(10 * time.Second); n > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d datagrams did not come, %v did", n, counts)
		}
		for i, s := range socks {
			for n > 0 && receive(t, s, buf) {
				counts[i]++
				n--
			}
		}
	}
	return counts
}

// receive reports whether a datagram was there to be read.
func receive(t testing.TB, s *net.UDPConn, buf []byte) bool {
	t.Helper()
	c, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = c.Control(func(fd uintptr) { _, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT) })
	if failed == unix.EAGAIN {
		return false
	}
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	return true
}

// pin keeps this thread on one CPU, and calls f.
func pin(t testing.TB, cpu int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var old, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		t.Fatal(os.NewSyscallError("sched_getaffinity", err))
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Fatal(os.NewSyscallError("sched_setaffinity", err))
	}
	defer unix.SchedSetaffinity(0, &old)
	f()
}

// cpus returns those that this thread may run on.
func cpus(t testing.TB) (all []int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(os.NewSyscallError("sched_getaffinity", err))
	}
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	return all
}

// membership returns the cookies of socks, and those of the group that the first
// is in.
func membership[S syscall.Conn](t testing.TB, diag *sockdiag.Conn, socks []S) (ours []uint64, members group.Members) {
	t.Helper()
	var first *group.Socket
	for _, s := range socks {
		c, err := s.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		sock, err := group.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = sock
		}
		ours = append(ours, sock.Cookie)
	}
	dump, err := group.Look(t.Context(), diag, first)
	if err == nil {
		members, err = dump.Members(first)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ours, members
}

func openDiag(t testing.TB) *sockdiag.Conn {
	t.Helper()
	diag, err := sockdiag.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { diag.Close() })
	return diag
}

// closeAll closes what was opened.
func closeAll[S interface{ Close() error }](socks []S) {
	for _, s := range socks {
		s.Close()
	}
}
