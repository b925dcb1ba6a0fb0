package procfs

import (
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A socket is found among the first descriptors and, if it is worth it, beyond.
func TestFindOwners(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	low, fd := inode(t, ln.(*net.TCPListener))
	// The same listener under a high number, and a socket that has only that.
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 200)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far, err := unix.FcntlInt(uintptr(other), unix.F_DUPFD_CLOEXEC, 300)
	unix.Close(other)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(far)
	var stat unix.Stat_t
	if err := unix.Fstat(far, &stat); err != nil {
		t.Fatal(err)
	}
	hidden := uint32(stat.Ino)
	var fill []int // descriptors in between
	for range firstDescriptors {
		fd, err := unix.FcntlInt(uintptr(far), unix.F_DUPFD_CLOEXEC, 100)
		if err != nil {
			t.Fatal(err)
		}
		fill = append(fill, fd)
		pipe := [2]int{}
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pipe[0])
		defer unix.Close(pipe[1])
		unix.Dup3(pipe[0], fd, unix.O_CLOEXEC)
	}
	defer func() {
		for _, fd := range fill {
			unix.Close(fd)
		}
	}()

	before := testnet.Descriptors(t)
	own := func(o Owners, inode uint32) (fds []int) {
		for _, d := range o.Found[inode] {
			if d.PID == os.Getpid() {
				fds = append(fds, d.FD)
			}
		}
		return fds
	}
	o := proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{low: true, hidden: true}, nil)
	if got := own(o, low); !slices.Contains(got, fd) {
		t.Errorf("the listener is %v, want %d", got, fd)
	}
	if got := own(o, hidden); !slices.Contains(got, far) {
		t.Errorf("the high one is %v, want %d", got, far)
	}
	o = proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{low: true, hidden: false}, nil)
	if got := own(o, hidden); len(got) != 0 {
		t.Errorf("the high one is found, though it is not worth it: %v", got)
	}
	if o := proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{1<<32 - 1: true}, nil); len(o.Found) != 0 || o.Err != nil {
		t.Errorf("a socket that is not there: %+v", o)
	}
	if o := proc.FindOwners(t.Context(), new(Guard), nil, nil); len(o.Found) != 0 || o.Forbidden != 0 {
		t.Errorf("no sockets: %+v", o)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if o := proc.FindOwners(ended, new(Guard), map[uint32]bool{low: true}, nil); o.Skipped == 0 || len(o.Found) != 0 {
		t.Errorf("with an ended context: %+v", o)
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// A descriptor that a child has inherited is found in both processes, until the
// child ends.
func TestInherited(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	number, _ := inode(t, ln.(*net.TCPListener))
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	child, _ := start(t, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{f} }, "waiter")
	found := func() (pids []int) {
		for _, d := range proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{number: true}, []int{child.Process.Pid}).Found[number] {
			if addr, port, err := Options(d, number); err != nil || !addr || port {
				t.Errorf("options of %+v: %v, %v, %v", d, addr, port, err)
			}
			pids = append(pids, d.PID)
		}
		slices.Sort(pids)
		return slices.Compact(pids)
	}
	want := []int{os.Getpid(), child.Process.Pid}
	slices.Sort(want)
	if pids := found(); !slices.Equal(pids, want) {
		t.Errorf("found %v, want %v", pids, want)
	}
	child.Process.Kill()
	child.Wait()
	if pids := found(); !slices.Equal(pids, []int{os.Getpid()}) {
		t.Errorf("after the child's end %v, want %v", pids, os.Getpid())
	}
}

// Another user's processes are counted, not seen; root and the user see them.
func TestForbidden(t *testing.T) {
	needsRoot(t, "for processes of other users")
	related := "ok"
	if scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil && scope[0] != '0' {
		related = "permission" // only a process's ancestors may
	}
	for _, test := range []struct {
		name           string
		holder, seeker func(*exec.Cmd)
		want           string
	}{
		{"root of root", nil, nil, "found 1 hidden false look ok options ok"},
		{"root of another", as(otherUser), nil, "found 1 hidden false look ok options ok"},
		{"another of root", nil, as(otherUser), "found 0 forbidden true hidden false look permission options permission"},
		{"another of its own", as(otherUser), as(otherUser), "found 1 hidden false look ok options " + related},
		{
			"another of its own, which is privileged", as(otherUser, unix.CAP_NET_BIND_SERVICE), as(otherUser),
			"found 0 forbidden true hidden false look permission options permission",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, number := start(t, test.holder, "holder", "50", "held")
			_, got := start(t, test.seeker, "seeker", strconv.Itoa(p.Process.Pid), number, "50")
			// The host may have processes that not even root may look into.
			if !strings.Contains(test.want, "forbidden") {
				got = strings.Replace(got, "forbidden true ", "", 1)
				got = strings.Replace(got, "forbidden false ", "", 1)
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}
