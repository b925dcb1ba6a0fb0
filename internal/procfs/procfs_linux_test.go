package procfs

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{"holder": holder})
}

// holder opens a listener as descriptor args[0], with the name args[1] for
// itself, prints the inode, and ends at the end of its input.
func holder(args []string) error {
	at, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/comm", []byte(args[1]), 0); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if fd != at {
		if err := unix.Dup3(fd, at, unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	var stat unix.Stat_t
	if err := unix.Fstat(at, &stat); err != nil {
		return err
	}
	fmt.Println(stat.Ino)
	bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// inode returns that of a socket of this process.
func inode(t testing.TB, c syscall.Conn) (inode uint32, fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(number uintptr) {
		var stat unix.Stat_t
		if err := unix.Fstat(int(number), &stat); err != nil {
			t.Fatal(err)
		}
		inode, fd = uint32(stat.Ino), int(number)
	})
	return inode, fd
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

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

	before := descriptors(t)
	own := func(o Owners, inode uint32) (fds []int) {
		for _, d := range o.Found[inode] {
			if d.PID == os.Getpid() {
				fds = append(fds, d.FD)
			}
		}
		return fds
	}
	o := FindOwners(t.Context(), map[uint32]bool{low: true, hidden: true}, nil)
	if got := own(o, low); !slices.Contains(got, fd) {
		t.Errorf("the listener is %v, want %d", got, fd)
	}
	if got := own(o, hidden); !slices.Contains(got, far) {
		t.Errorf("the high one is %v, want %d", got, far)
	}
	o = FindOwners(t.Context(), map[uint32]bool{low: true, hidden: false}, nil)
	if got := own(o, hidden); len(got) != 0 {
		t.Errorf("the high one is found, though it is not worth it: %v", got)
	}
	if o := FindOwners(t.Context(), map[uint32]bool{1<<32 - 1: true}, nil); len(o.Found) != 0 || o.Err != nil {
		t.Errorf("a socket that is not there: %+v", o)
	}
	if o := FindOwners(t.Context(), nil, nil); len(o.Found) != 0 || o.Forbidden != 0 {
		t.Errorf("no sockets: %+v", o)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if o := FindOwners(ended, map[uint32]bool{low: true}, nil); o.Skipped == 0 || len(o.Found) != 0 {
		t.Errorf("with an ended context: %+v", o)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// Another user's processes are counted, not seen; root sees them.
func TestForbidden(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for processes of other users")
	}
	p := testnet.Start(t, 0, "holder", "50", "a) b (c")
	number, err := strconv.ParseUint(p.Line(t), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	want := Descriptor{p.Process.Pid, 50}
	o := FindOwners(t.Context(), map[uint32]bool{uint32(number): true}, []int{p.Process.Pid})
	if got := o.Found[uint32(number)]; !slices.Contains(got, want) {
		t.Errorf("as root: %+v", o)
	}
	addr, port, err := Options(want, uint32(number))
	if err != nil || !addr || port {
		t.Errorf("options %v, %v, %v", addr, port, err)
	}
	if name := Command(p.Process.Pid); name != "a) b (c" {
		t.Errorf("command %q", name)
	}
	if Started(p.Process.Pid) < Started(os.Getpid()) || Started(os.Getpid()) == 0 {
		t.Errorf("started %d, this process %d", Started(p.Process.Pid), Started(os.Getpid()))
	}
	if Started(1<<30) != 0 || Command(1<<30) != "" {
		t.Error("a process that is not there has a name or a start")
	}

	if _, _, err := Options(want, uint32(number)+1); err == nil {
		t.Error("options of another inode")
	}
	testnet.As(t, 65534, func() {
		o := FindOwners(t.Context(), map[uint32]bool{uint32(number): true}, nil)
		if o.Forbidden == 0 || len(o.Found) != 0 {
			t.Errorf("as another user: %+v", o)
		}
	})
}

// Options are those of the very socket, or an error; no descriptor is left.
func TestOptions(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	number, fd := inode(t, ln.(*net.TCPListener))
	before := descriptors(t)
	for range 100 {
		if addr, port, err := Options(Descriptor{os.Getpid(), fd}, number); err != nil || !addr || port {
			t.Fatal(addr, port, err)
		}
		for _, d := range []Descriptor{{os.Getpid(), 1 << 19}, {1 << 30, fd}} {
			if _, _, err := Options(d, number); err == nil {
				t.Fatalf("options of %+v", d)
			}
		}
		if _, _, err := Options(Descriptor{os.Getpid(), fd}, number+1); err == nil {
			t.Fatal("options of another inode")
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// hidepid and a missing procfs are told.
func TestHidden(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount procfs")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, "hidepid=2"); err != nil {
		t.Skipf("needs procfs with hidepid: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	number, _ := inode(t, ln.(*net.TCPListener))
	wanted := map[uint32]bool{number + 1: true}
	if o := FindOwners(t.Context(), wanted, nil); o.Hidden {
		t.Errorf("for root: %+v", o)
	}
	testnet.As(t, 65534, func() {
		if o := FindOwners(t.Context(), wanted, nil); !o.Hidden && o.Forbidden == 0 {
			t.Errorf("hidepid=2: %+v", o)
		}
	})
	if err := unix.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if o := FindOwners(t.Context(), wanted, nil); o.Err == nil {
		t.Errorf("without procfs: %+v", o)
	}
}

func TestCgroup(t *testing.T) {
	mount := cgroupMount()
	if mount == "" {
		t.Skip("needs cgroup2")
	}
	if root := FindCgroup(t.Context(), 1); root.Path != "/" {
		t.Errorf("the root is %+v", root)
	}
	if none := FindCgroup(t.Context(), 1<<60); none.Path != "" || none.Processes() != nil {
		t.Errorf("%+v", none)
	}
	dir := filepath.Join(mount, fmt.Sprintf("procfs test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("needs a writable cgroup2: %v", err)
	}
	defer os.Remove(dir)
	p := testnet.Start(t, os.Getuid(), "holder", "50", "member")
	p.Line(t)
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.Process.Pid)), 0); err != nil {
		t.Skipf("needs to move processes between cgroups: %v", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := FindCgroup(t.Context(), info.Sys().(*syscall.Stat_t).Ino)
	if c.Path != "/"+filepath.Base(dir) || !slices.Equal(c.Processes(), []int{p.Process.Pid}) {
		t.Errorf("%+v with processes %v", c, c.Processes())
	}
	p.Process.Kill()
	p.Wait()
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		stat string
		want uint64
	}{
		{"", 0}, {"1 (a", 0}, {"1 (a) S", 0},
		{"1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2", 4242},
		{"1 (a) b (c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2", 4242},
	} {
		if got := parseStarted(test.stat); got != test.want {
			t.Errorf("%q: %d, want %d", test.stat, got, test.want)
		}
	}
	for _, test := range []struct{ text, want string }{
		{"", ""}, {" - \n", ""}, {"1 2 3 4", ""},
		{"36 35 98:0 / /sys/fs/cgroup rw shared:1 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{"36 35 98:0 / /a\\040b\\134 rw - cgroup2 none rw\n", `/a b\`},
		{"36 35 98:0 / /v1 rw - cgroup none rw\n40 35 98:0 / /v2 rw master:1 - cgroup2 none rw\n", "/v2"},
	} {
		if got := parseCgroupMount(test.text); got != test.want {
			t.Errorf("%q: %q, want %q", test.text, got, test.want)
		}
	}
	for link, want := range map[string]uint32{"socket:[4711]": 4711, "socket:[": 0, "pipe:[1]": 0, "socket:[99999999999]": 0} {
		if got, ok := socketInode(link); ok != (want != 0) || ok && got != want {
			t.Errorf("%q: %d, %v", link, got, ok)
		}
	}
}

// FuzzParse reads hostile lines of procfs.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"/proc/self/stat", "/proc/self/mountinfo"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("socket:[1]")
	f.Fuzz(func(t *testing.T, s string) {
		parseStarted(s)
		socketInode(s)
		if mount := parseCgroupMount(s); len(mount) > len(s) || strings.Contains(mount, `\040`) && !strings.Contains(s, `\134`) {
			t.Errorf("%q of %q", mount, s)
		}
	})
}
