package shard_test

import (
	"errors"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/group"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

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
	members, err := first.Members(t.Context(), diag)
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
