package testnet

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Set to "own" where nothing but the tests uses the network: an ordinary user, who
// cannot have a namespace, runs them in a virtual machine's.
const machineEnv = "TESTNET_MACHINE"

// Namespace moves the calling goroutine into a new network namespace, whose
// loopback interface is up and whose ports are all free. Sockets that the
// goroutine opens, and processes that it starts, belong to the namespace; other
// goroutines stay outside, so subtests have to be called, not run. It skips the
// test where namespaces are not permitted, unless the machine is the tests' own.
//
// The goroutine keeps its thread, which ends with it, and with the last socket
// the namespace.
func Namespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv(machineEnv) == "own" {
			return
		}
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
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err == nil {
		return
	} else if unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo) != nil || lo.Uint16()&unix.IFF_UP == 0 { // gVisor's is up
		t.Fatalf("set lo up: %v", err)
	}
}

// Parallel is t.Parallel for a test that has a Namespace, unless the machine takes
// its place.
func Parallel(t *testing.T) {
	if os.Getenv(machineEnv) != "own" {
		t.Parallel()
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
	if err == unix.ENOSYS {
		t.Skip("needs setfsuid")
	}
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

// Sysctl sets net.ipv4.NAME of the calling thread's namespace until the test ends:
// in gVisor namespaces have them in common. It skips the test where that cannot be
// set.
func Sysctl(t testing.TB, name, value string) {
	t.Helper()
	name = "/proc/sys/net/ipv4/" + name
	old, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, []byte(value), 0)
	}
	if err != nil {
		t.Skipf("needs to set %s: %v", name, err)
	}
	t.Cleanup(func() { os.WriteFile(name, old, 0) })
}
