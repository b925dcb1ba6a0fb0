package procfs

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mountNamespace moves the test into a mount namespace of its own.
func mountNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

// hidepid and a missing procfs are told.
func TestHidden(t *testing.T) {
	needsRoot(t, "to mount procfs")
	p, number := start(t, nil, "holder", "50", "held")
	pid := strconv.Itoa(p.Process.Pid)
	mountNamespace(t)
	seek := func(option string, change func(*exec.Cmd), want string) {
		t.Helper()
		_, got := start(t, change, "seeker", pid, number, "50")
		if !strings.Contains(want, "forbidden") {
			got = strings.Replace(got, "forbidden true ", "", 1)
			got = strings.Replace(got, "forbidden false ", "", 1)
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", option, got, want)
		}
	}
	for _, option := range []string{"hidepid=0", "hidepid=2"} {
		if err := unix.Mount("proc", "/proc", "proc", 0, option); err != nil {
			t.Fatalf("mount with %s: %v", option, err)
		}
		if flags, err := os.ReadFile("/proc/thread-self/mounts"); err == nil && option == "hidepid=2" && !strings.Contains(string(flags), "hidepid=") {
			t.Skip("needs a procfs that hides, not one that takes the option and does nothing")
		}
		seek(option, nil, "found 1 hidden false look ok options ok")
		if option == "hidepid=2" {
			seek(option, as(otherUser), "found 0 hidden true look absent options permission")
		} else {
			seek(option, as(otherUser), "found 0 forbidden true hidden false look permission options permission")
		}
	}
	before := proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{1: true}, nil)
	if before.Err != nil {
		t.Errorf("with procfs: %+v", before)
	}
	if err := unix.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if o := proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{1: true}, nil); o.Err == nil {
		t.Errorf("without procfs: %+v", o)
	}
	if proc.Command(os.Getpid()) != "" || started(os.Getpid()) != 0 {
		t.Error("without procfs a process has a name or a start")
	}
}
