package testnet

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace moves the calling goroutine into a new network namespace, whose
// loopback interface is up and whose ports are all free. Sockets that the
// goroutine opens, and processes that it starts, belong to the namespace; other
// goroutines stay outside, so subtests have to be called, not run. It skips the
// test where namespaces are not permitted.
//
// The goroutine keeps its thread, which ends with it, and with the last socket
// the namespace.
func Namespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("needs a network namespace: unshare: %v", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatalf("set lo up: %v", err)
	}
}

// As runs f with another file system uid, which is what the kernel takes for
// the owner of a socket that f opens. The test has to run as root, and f on the
// calling goroutine.
func As(t testing.TB, uid int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := unix.SetfsuidRetUid(uid)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(old)
	// setfsuid reports no failure; asking again tells.
	if now, _ := unix.SetfsuidRetUid(-1); now != uid {
		t.Fatalf("setfsuid %d: still %d", uid, now)
	}
	f()
}

// Sysctl sets net.ipv4.NAME of the calling thread's namespace.
func Sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}
