package handover_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// behind is serve with another /proc, which its first argument names.
func behind(args []string) error {
	if err := testnet.BehindProc(args[0]); err != nil {
		return err
	}
	_, self := os.Stat("/proc/self/fd")
	_, init := os.Stat("/proc/1")
	writable := unix.Access("/proc/sys/net/ipv4/tcp_syncookies", unix.W_OK)
	var got string
	switch {
	case self != nil:
		got = "none"
	case init != nil:
		got = "hidepid"
	case writable == unix.EROFS:
		got = "readonly"
	}
	if args[0] == "hidepid" && got == "" {
		got = "hidepid" // root sees all
	}
	if got != args[0] {
		return fmt.Errorf("the control: /proc is %q, want %q", got, args[0])
	}
	return serve(args[1:])
}

// A handover needs no /proc: servers without it, and with one that is read-only or
// hides processes, are replaced under load.
func TestBehindProc(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	for _, kind := range []string{"none", "readonly", "hidepid"} {
		t.Run(kind, func(t *testing.T) {
			testnet.Namespace(t)
			restarts := func(drain bool) (lost int) {
				return replaced(t, drain, times(3),
					func() process { return start(t, 0, "behind", kind) },
					func() process { return start(t, 0, "load", "-n", "16") })
			}
			if kind != "none" { // where the race detector takes long to begin
				lossless(t, restarts)
			} else if lost := restarts(true); lost > 0 {
				t.Errorf("%d lost", lost)
			}
		})
	}
}

// uptime prints the monotonic clock in seconds, and serves.
func uptime(args []string) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	fmt.Println("uptime", now.Sec)
	return serve(args)
}

// Servers whose monotonic clocks are years apart replace each other: nothing of a
// time passes between them. The clock of a process that was stopped jumps, too:
// TestOldAtEveryStep.
func TestClocksApart(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	const years = 10 * 365 * 24 * 3600
	apart := func() (server process, seconds int64) {
		server = process{testnet.Start(t, os.Getuid(), "uptime")}
		fmt.Sscanf(server.expect(t, "uptime"), "uptime %d", &seconds)
		server.expect(t, "listening")
		return server, seconds
	}
	server, before := apart()
	clients := start(t, os.Getuid(), "load", "-n", "8")
	// From here on this thread's children live in a time of their own.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		t.Skipf("needs a time namespace: %v", err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), fmt.Appendf(nil, "monotonic %d 0\n", years), 0); err != nil {
		t.Skipf("needs a time namespace's offsets: %v", err)
	}
	if err := exec.Command("/proc/self/exe", "-test.list", "^$").Run(); errors.Is(err, unix.EINVAL) {
		t.Skip("needs a kernel that starts a process in another time namespace as Go does it, with CLONE_VM")
	}
	next, after := apart()
	if after-before < years {
		t.Errorf("the control: clocks of %d and %d s", before, after)
	}
	for range 3 {
		server.tell(t, "drain")
		server.expect(t, "drained")
		server.end(t)
		server = next
		next, _ = apart()
	}
	next.tell(t, "drain")
	next.expect(t, "drained")
	next.end(t)
	ok, lost, slow := clients.counts(t)
	t.Logf("%d connections, %d lost, %d slow", ok, lost, slow)
	if lost > 0 {
		t.Errorf("%d lost", lost)
	}
	server.end(t)
}

// The time of day jumps by ten years, to and fro, while servers replace each other.
// Only a virtual machine's may.
func TestTimeOfDayJumps(t *testing.T) {
	if os.Getenv("TESTNET_MACHINE") != "own" || os.Getuid() != 0 {
		t.Skip("needs a machine of its own, whose time it may set")
	}
	needDrain(t)
	testnet.Namespace(t)
	begin := time.Now()
	jump := func(years int) {
		t.Helper()
		// What is monotonic in begin tells how much time has passed.
		now := begin.Add(time.Since(begin)).AddDate(years, 0, 0)
		ts := unix.NsecToTimespec(now.UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			t.Fatal(err)
		}
	}
	defer jump(0)
	server := start(t, nobody, "serve")
	clients := start(t, nobody, "load", "-n", "8")
	for i := range 6 {
		next := start(t, nobody, "serve")
		server.tell(t, "drain")
		jump([]int{10, 0, -10}[i%3])
		server.expect(t, "drained")
		server.end(t)
		server = next
	}
	ok, lost, slow := clients.counts(t)
	t.Logf("%d connections, %d lost, %d slow", ok, lost, slow)
	if lost > 0 {
		t.Errorf("%d lost", lost)
	}
	server.end(t)
}
