package inuse

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

const nobody = 65534

// A child is a process that has a listener, or a child of it that has.
type child struct {
	*exec.Cmd
	inode uint32
}

// run starts a program that becomes, or starts, a server of this test binary's, and
// waits until it listens. The first argument is the program's file.
func run(t testing.TB, how string, change func(*exec.Cmd), args ...string) child {
	t.Helper()
	if os.Getenv("TESTNET_EMULATED") != "" {
		t.Skip("needs another process of this program, which is emulated")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=odd", testnet.OddEnv+"="+how+" 127.0.0.1:0", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Signal(unix.SIGCONT)
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if line == "none\n" {
		t.Skip("needs io_uring")
	}
	inode, err := strconv.ParseUint(strings.TrimSpace(line), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return child{cmd, uint32(inode)}
}

// called makes a name for a program, in a directory of the test's.
func called(t testing.TB, name, program string) string {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// self is this program's file.
func self(t testing.TB) string {
	t.Helper()
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// scriptFor writes a script for sh, or another shell, that runs its arguments and waits.
func scriptFor(t testing.TB, name, interpreter string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	text := "\"$@\"\ntrue\n"
	if interpreter != "" {
		text = "#!" + interpreter + "\n" + text
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// ownersOf finds who has a socket.
func ownersOf(ctx context.Context, inode uint32) (*group, sight) {
	return ownersAt(ctx, inode, "127.0.0.1:9999")
}

func ownersAt(ctx context.Context, inode uint32, local string) (*group, sight) {
	g := &group{count: 1, inodes: []uint32{inode}}
	g.Socket = sockdiag.Socket{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, State: sockdiag.Listen, Inode: inode, Local: netip.MustParseAddrPort(local)}
	s := findOwners(ctx, []*group{g}, func(*group) bool { return true })
	return g, s
}

// soleOwner is ownersOf for a socket that one process has.
func soleOwner(t testing.TB, inode uint32) Process {
	t.Helper()
	g, _ := ownersOf(t.Context(), inode)
	if len(g.processes) != 1 {
		t.Fatalf("%d processes: %+v", len(g.processes), g.processes)
	}
	return g.processes[0]
}

// await waits until a process is in a state.
func await(t testing.TB, pid int, state byte) {
	t.Helper()
	for {
		p, ok := proc.Process(pid)
		if !ok {
			t.Fatalf("process %d has ended", pid)
		}
		if p.State == state {
			return
		}
		runtime.Gosched()
	}
}

func TestOwnerName(t *testing.T) {
	t.Parallel()
	before := time.Now().Add(-2 * time.Second)
	c := run(t, "plain", nil, called(t, "python3", self(t)), "-u", "/srv/app.py", "--password", "secret")
	p := soleOwner(t, c.inode)
	if p.Started.Before(before) || p.Started.After(time.Now()) {
		t.Errorf("started %v", p.Started)
	}
	p.Started, p.unit = time.Time{}, unit{}
	p.terminal = ""
	want := Process{PID: c.Process.Pid, Name: "python3 app.py", Command: "python3", State: "running", Parent: os.Getpid(), uid: os.Getuid()}
	if p != want {
		t.Errorf("%+v, want %+v", p, want)
	}
	g, s := ownersOf(t.Context(), c.inode)
	if h := g.holder(); h.Options != (Options{Known: true, ReuseAddr: true}) || h.Count != 1 || h.UID != 0 || h.State != "LISTEN" || h.Network != "tcp4" || s != (sight{}) {
		t.Errorf("%+v, %+v", h, s)
	}
	if g, s := ownersOf(t.Context(), 1<<32-1); len(g.processes) != 0 || g.holder().Options.Known || s.err != nil || s.late {
		t.Errorf("of a socket that is not there: %+v, %+v", g, s)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if g, s := ownersOf(ended, c.inode); len(g.processes) != 0 || !s.late {
		t.Errorf("with an ended context: %+v, %+v", g, s)
	}
}

// What keeps a process from ending is told, until it is over.
func TestOwnerState(t *testing.T) {
	t.Parallel()
	c := run(t, "plain", nil, self(t))
	if err := c.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, c.Process.Pid, 'T')
	if p := soleOwner(t, c.inode); p.State != "stopped" {
		t.Errorf("suspended: %+v", p)
	}
	if err := c.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for soleOwner(t, c.inode).State != "running" {
	}

	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(c.Process.Pid); err != nil {
		t.Skipf("needs ptrace: %v", err)
	}
	if p := soleOwner(t, c.inode); p.State != "running" || p.Tracer != os.Getpid() {
		t.Errorf("traced, not stopped: %+v", p)
	}
	if err := unix.PtraceInterrupt(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	await(t, c.Process.Pid, 't')
	if p := soleOwner(t, c.inode); p.State != "traced" || p.Tracer != os.Getpid() || p.tracerName != program() || p.tracerName == "" {
		t.Errorf("stopped by its tracer: %+v", p)
	}
	if err := unix.PtraceDetach(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	for p := soleOwner(t, c.inode); p.State != "running" || p.Tracer != 0; p = soleOwner(t, c.inode) {
	}
}

// A socket that the first thread of a process has not is found, and the process named.
func TestOwnerOdd(t *testing.T) {
	for _, how := range []string{"plain", "table", "ended", "ring"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := run(t, how, nil, called(t, "java", self(t)), "-jar", "netty.jar")
			if how == "ended" {
				await(t, c.Process.Pid, 'Z')
			}
			p := soleOwner(t, c.inode)
			state := map[bool]string{true: "zombie", false: "running"}[how == "ended"]
			if p.PID != c.Process.Pid || p.Name != "java -jar netty.jar" || p.State != state {
				t.Errorf("%+v", p)
			}
		})
	}
}

// Several processes that have a socket are told to be a process group if they are all
// that are in it.
func TestOwnerGroup(t *testing.T) {
	for _, test := range []struct {
		name  string
		whole bool
		attr  *syscall.SysProcAttr
	}{{"whole", true, &syscall.SysProcAttr{Setpgid: true}}, {"part", false, nil}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			first := run(t, "plain", func(cmd *exec.Cmd) { cmd.SysProcAttr = test.attr }, self(t))
			pgid := 0
			if test.whole {
				pgid = first.Process.Pid
			}
			// It gives its socket to a second one of its process group.
			fd, err := procfsDuplicate(first)
			if err != nil {
				t.Skipf("needs pidfd_getfd: %v", err)
			}
			socket := os.NewFile(uintptr(fd), "socket")
			run(t, "plain", func(cmd *exec.Cmd) {
				cmd.ExtraFiles = []*os.File{socket}
				if test.whole {
					cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: pgid}
				}
			}, self(t))
			socket.Close()
			g, _ := ownersOf(t.Context(), first.inode)
			if len(g.processes) != 2 || g.processes[0].PID != first.Process.Pid || g.processes[0].Inherited || !g.processes[1].Inherited {
				t.Errorf("%+v", g.processes)
			}
			if g.pgid != pgid || g.holder().group != pgid {
				t.Errorf("process group %d, want %d", g.pgid, pgid)
			}
		})
	}
}

// procfsDuplicate returns a descriptor for the socket of another process.
func procfsDuplicate(c child) (int, error) {
	found := proc.FindOwners(context.Background(), new(procfs.Guard), map[uint32]bool{c.inode: true}, []int{c.Process.Pid}).Found[c.inode]
	if len(found) == 0 {
		return -1, os.ErrNotExist
	}
	process, err := unix.PidfdOpen(c.Process.Pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(process)
	return unix.PidfdGetfd(process, found[0].FD, 0)
}

// A script that starts a server may start it again; an interactive shell does not.
func TestOwnerParent(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	for _, test := range []struct {
		name   string
		args   []string
		change func(*exec.Cmd)
		want   string
	}{
		{"script", []string{bash, scriptFor(t, "run.sh", "")}, nil, "bash run.sh"},
		{"commands", []string{bash, "-c", `"$@"; true`, "-"}, nil, "bash -c"},
		{"program", []string{scriptFor(t, "start", bash)}, nil, "start " + filepath.Base(self(t))},
		{"login", []string{bash, "-c", `"$@"; true`, "-"}, func(cmd *exec.Cmd) { cmd.Args[0] = "-bash" }, ""},
		{"option", []string{bash, "--login", "-c", `"$@"; true`, "-"}, nil, ""},
		{"no shell", []string{self(t)}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := run(t, "plain", test.change, append(test.args, self(t))...)
			p := soleOwner(t, c.inode)
			if p.parentName != test.want {
				t.Errorf("parent %q, want %q: %+v", p.parentName, test.want, p)
			}
			if want := os.Getpid(); (p.Parent == want) != (test.name == "no shell") {
				t.Errorf("parent %d, this process is %d", p.Parent, want)
			}
		})
	}
}

// A supervisor is told, with the command that stops what it has started.
func TestOwnerSupervisor(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	supervisord := scriptFor(t, "supervisord", bash)
	for _, test := range []struct {
		name       string
		args       []string
		env        []string
		supervisor string
		want       string
	}{
		{"supervisord", []string{supervisord}, []string{"SUPERVISOR_GROUP_NAME=web", "SUPERVISOR_PROCESS_NAME=app"}, "supervisord", "supervisorctl stop web:app"},
		{"quoted", []string{supervisord}, []string{"SUPERVISOR_GROUP_NAME=a; b", "SUPERVISOR_PROCESS_NAME=$x"}, "supervisord", "supervisorctl stop 'a; b:$x'"},
		{"hostile", []string{supervisord}, []string{"SUPERVISOR_GROUP_NAME=a\x1b", "SUPERVISOR_PROCESS_NAME=x"}, "supervisord", "supervisorctl status"},
		{"option", []string{supervisord}, []string{"SUPERVISOR_GROUP_NAME=-a", "SUPERVISOR_PROCESS_NAME=x"}, "supervisord", "supervisorctl status"},
		{"unnamed", []string{supervisord}, nil, "supervisord", "supervisorctl status"},
		{"script between", []string{supervisord, bash, scriptFor(t, "run.sh", "")}, []string{"SUPERVISOR_GROUP_NAME=web", "SUPERVISOR_PROCESS_NAME=app"}, "supervisord", "supervisorctl stop web:app && kill PID"},
		{"runsv", []string{called(t, "runsv", bash), scriptFor(t, "web", "")}, nil, "runsv", "sv stop web"},
		{"s6-supervise", []string{called(t, "s6-supervise", bash), scriptFor(t, "web", "")}, nil, "s6-supervise", "s6-svc -d DIR"},
		{"nothing", []string{bash, scriptFor(t, "run.sh", "")}, []string{"SUPERVISOR_GROUP_NAME=web", "SUPERVISOR_PROCESS_NAME=app"}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := run(t, "plain", func(cmd *exec.Cmd) {
				cmd.Env = append(cmd.Env, test.env...)
				cmd.Dir = dir
			}, append(test.args, self(t))...)
			p := soleOwner(t, c.inode)
			want := strings.NewReplacer("PID", strconv.Itoa(p.PID), "DIR", dir).Replace(test.want)
			if p.Supervisor != test.supervisor || p.supervised != want {
				t.Errorf("%q, %q, want %q, %q", p.Supervisor, p.supervised, test.supervisor, want)
			}
		})
	}
}

// A script that asks is not told to be stopped.
func TestRunsThis(t *testing.T) {
	c := run(t, "plain", nil, self(t))
	o := &owners{known: map[int]*details{}}
	for pid, want := range map[int]bool{os.Getppid(): os.Getppid() > 1, c.Process.Pid: false, os.Getpid(): false} {
		if got := o.runsThis(pid); got != want {
			t.Errorf("process %d: %v, want %v", pid, got, want)
		}
	}
}

func TestSupervisorName(t *testing.T) {
	for _, test := range []struct {
		comm, name, program, want string
	}{
		{"supervisord", "supervisord", "supervisord", "supervisord"},
		{"python3", "python3 supervisord", "python3", "supervisord"},
		{"PM2 v5.3.0: God", "PM2", "PM2", "pm2"},
		{"PM2", "PM2", "PM2", ""},
		{"runsv", "runsv web", "runsv", "runsv"},
		{"s6-supervise", "s6-supervise web", "s6-supervise", "s6-supervise"},
		{"bash", "bash supervisord.sh", "bash", ""},
	} {
		if got := supervisorName(&details{Process: procfs.Process{Name: test.comm}, name: test.name, program: test.program}); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// Another user sees neither process nor options; who may see all does.
func TestOwnerOtherUser(t *testing.T) {
	testnet.NeedRoot(t)
	c := run(t, "plain", nil, self(t))
	testnet.As(t, nobody, func() {
		g, s := ownersOf(t.Context(), c.inode)
		if len(g.processes) != 0 || g.options.Known || !s.others || s.hidden || s.late || s.err != nil {
			t.Errorf("as another user: %+v, %+v", g.processes, s)
		}
	})
	if g, s := ownersOf(t.Context(), c.inode); len(g.processes) != 1 || !g.options.Known || s != (sight{}) {
		t.Errorf("as root: %+v, %+v", g.processes, s)
	}
}

// hidepid and a missing procfs are told.
func TestOwnerHidden(t *testing.T) {
	t.Parallel()
	c := run(t, "plain", nil, self(t))
	testnet.PrivateMounts(t)
	if err := unix.Mount("proc", "/proc", "proc", 0, "hidepid=2"); err != nil {
		t.Fatal(err)
	}
	if mounts, _ := os.ReadFile("/proc/thread-self/mounts"); !bytes.Contains(mounts, []byte("hidepid=")) {
		t.Skip("needs a procfs that hides")
	}
	// Not testnet.As, which leaves this thread CAP_SYS_PTRACE.
	if line := testnet.Start(t, nobody, "seer", fmt.Sprint(c.inode)).Line(t); line != "0 processes hidden true" {
		t.Errorf("with hidepid: %s", line)
	}
	if line := testnet.Start(t, 0, "seer", fmt.Sprint(c.inode)).Line(t); line != "1 processes hidden false" {
		t.Errorf("with hidepid, as root: %s", line)
	}
	if g, s := ownersOf(t.Context(), c.inode); len(g.processes) != 1 || s != (sight{}) {
		t.Errorf("as root, with hidepid: %+v, %+v", g.processes, s)
	}
	if err := unix.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if g, s := ownersOf(t.Context(), c.inode); len(g.processes) != 0 || s.err == nil {
		t.Errorf("without /proc: %+v, %+v", g.processes, s)
	}
	if a := newAsker(); !a.blind || a.uid != os.Getuid() || a.name == "" {
		t.Errorf("without /proc: %+v", a)
	}
}

// docker-proxy is named by the container that it sends to, if that is seen; and found by
// its arguments by those who may not see its descriptors.
func TestOwnerDockerProxy(t *testing.T) {
	testnet.NeedRoot(t)
	t.Parallel()
	const id = "4f2a9c1b2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b"
	container(t, id, [4]byte{172, 31, 254, 77})
	proxy := func(t *testing.T, ip string) child {
		return run(t, "plain", func(cmd *exec.Cmd) { cmd.Dir = "/" }, called(t, "docker-proxy", self(t)), "-proto", "tcp",
			"-host-ip", "127.0.0.1", "-host-port", "9998", "-container-ip", ip, "-container-port", "80")
	}
	c := proxy(t, "172.31.254.77")
	want := unit{user: -1, container: id[:12], kind: "docker"}
	if p := soleOwner(t, c.inode); p.Name != "docker-proxy" || !p.isDocker() || p.unit != want {
		t.Errorf("%+v", p)
	}
	if p := soleOwner(t, proxy(t, "172.31.254.78").inode); p.unit.container != "" || !p.isDocker() {
		t.Errorf("of another container: %+v", p)
	}
	testnet.As(t, nobody, func() {
		g, _ := ownersAt(t.Context(), c.inode, "127.0.0.1:9998")
		if len(g.processes) != 1 || !g.processes[0].isDocker() || g.processes[0].unit != want && g.processes[0].unit.container != "" {
			t.Errorf("as another user: %+v", g.processes)
		}
	})
	// Of another port, protocol, address or user it is not.
	d := details{args: c.Args}
	at := func(protocol uint8, local string) bool {
		return listensAt(d.args, &group{Socket: sockdiag.Socket{Protocol: protocol, Local: netip.MustParseAddrPort(local)}})
	}
	if !at(unix.IPPROTO_TCP, "127.0.0.1:9998") || at(unix.IPPROTO_UDP, "127.0.0.1:9998") || at(unix.IPPROTO_TCP, "127.0.0.1:9997") || at(unix.IPPROTO_TCP, "0.0.0.0:9998") {
		t.Error("it listens where it does not")
	}
}

// container starts a process in the cgroup of a container, with a network of its own
// that has an address.
func container(t testing.TB, id string, addr [4]byte) {
	t.Helper()
	testnet.Namespace(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := lo.SetInet4Addr(addr[:]); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, lo); err != nil {
		t.Skipf("needs to set an address: %v", err)
	}
	c := run(t, "plain", nil, self(t))
	testnet.Namespace(t)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if !strings.Contains(line, " - cgroup2 ") || fields[3] != "/" {
			continue
		}
		dir := filepath.Join(fields[4], "docker-"+id+".scope")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("needs a writable cgroup2: %v", err)
		}
		t.Cleanup(func() {
			c.Process.Kill()
			c.Wait()
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(c.Process.Pid)), 0); err != nil {
			t.Skipf("needs to move processes between cgroups: %v", err)
		}
		return
	}
	t.Skip("needs cgroup2")
}

func TestOwnerConmon(t *testing.T) {
	t.Parallel()
	conmon := called(t, "conmon", self(t))
	for _, test := range []struct{ args, container string }{
		{"--api-version 1 -c 4f2a9c1b2d3e5a6b7c8d -u 4f2a9c1b2d3e5a6b7c8d -r /usr/bin/runc -n web --exit-command rm", "web"},
		{"-c 4f2a9c1b2d3e5a6b7c8d -u x", "4f2a9c1b2d3e"},
		{"--cid=4f2a9c1b2d3e5a6b7c8d --name=web", "web"},
		{"--version", ""},
	} {
		c := run(t, "plain", nil, append([]string{conmon}, strings.Fields(test.args)...)...)
		p := soleOwner(t, c.inode)
		if p.unit.container != test.container || (p.unit.kind == "podman") != (test.container != "") || !p.isPodman() {
			t.Errorf("%s: %+v", test.args, p)
		}
	}
}

// A socket that is bound to an interface is told with its name.
func TestDevice(t *testing.T) {
	testnet.NeedRoot(t)
	t.Parallel()
	testnet.Namespace(t)
	lo := sockdiag.Socket{Interface: 1, Local: netip.MustParseAddrPort("127.0.0.1:9999")}
	if got := device(lo); got != "lo" {
		t.Errorf("%q", got)
	}
	for _, s := range []sockdiag.Socket{{}, {Interface: 99}, {Interface: 1, Local: netip.MustParseAddrPort("[fe80::1%lo]:9999")}} {
		if got := device(s); got != "" {
			t.Errorf("%+v: %q", s, got)
		}
	}
}

// The socket of a tunnel is told with its interface.
func TestLink(t *testing.T) {
	testnet.NeedRoot(t)
	t.Parallel()
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("needs ip(8)")
	}
	testnet.Namespace(t)
	for _, args := range []string{"link add vx0 type vxlan id 1 dstport 4789", "link set vx0 up"} {
		if out, err := exec.Command(ip, strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("needs a kernel with vxlan: %v, %s", err, out)
		}
	}
	fd, err := testnet.Bind(unix.SOCK_DGRAM, netip.MustParseAddrPort("0.0.0.0:4790"), false, testnet.NoOption)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	conn, err := sockdiag.Open()
	if err != nil {
		t.Skipf("needs netlink: %v", err)
	}
	defer conn.Close()
	for port, link := range map[uint16]string{4789: "vx0", 4790: ""} {
		sockets, err := conn.Sockets(t.Context(), sockdiag.Request{Protocol: unix.IPPROTO_UDP, LocalPort: port})
		if err != nil || len(sockets) == 0 {
			t.Fatalf("port %d: %v, %v", port, sockets, err)
		}
		for _, s := range sockets {
			g := &group{Socket: s, count: 1}
			if s.Inode != 0 {
				g.inodes = []uint32{s.Inode}
			}
			findOwners(t.Context(), []*group{g}, func(*group) bool { return true })
			if h := g.holder(); h.link != link || (h.kind == "vxlan") != (link != "") || (len(h.Processes) == 0) != (link != "") {
				t.Errorf("port %d: %+v", port, h)
			}
		}
	}
	if out, err := exec.Command(ip, "link", "set", "vx0", "down").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if sockets, err := conn.Sockets(t.Context(), sockdiag.Request{Protocol: unix.IPPROTO_UDP, LocalPort: 4789}); err != nil || len(sockets) != 0 {
		t.Errorf("when it is down: %v, %v", sockets, err)
	}
}

// A process that hangs is named by what the kernel calls it.
func TestOwnerHangs(t *testing.T) {
	o := &owners{known: map[int]*details{}}
	never := make(chan struct{})
	defer close(never)
	ctx, cancel := context.WithTimeout(t.Context(), testnet.Slow(20*time.Millisecond))
	defer cancel()
	if o.guard.Do(ctx, func() { <-never }) {
		t.Fatal("a call that does not end has ended")
	}
	d := o.look(t.Context(), os.Getpid(), 0)
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.name, strings.TrimSpace(string(comm))) || d.args != nil || d.program == "" {
		t.Errorf("%+v", d)
	}
}

func TestNameIn(t *testing.T) {
	const passwd = "root:x:0:0::/root:/bin/sh\nmalformed\n# 7:x:7\nalice:x:1000:1000\nbob:x:1000:1000::/:/bin/sh\n\n:x:7:\n"
	for uid, want := range map[uint32]string{0: "root", 1000: "alice", 7: "", 1: "", 1<<32 - 1: ""} {
		if got := nameIn(passwd, uid); got != want {
			t.Errorf("%d: %q, want %q", uid, got, want)
		}
	}
}

// SightText is for tests as other users.
func SightText(inode uint32) string {
	g, s := ownersOf(context.Background(), inode)
	return fmt.Sprint(len(g.processes), " processes hidden ", s.hidden)
}

// AskerText is for tests of package inuse_test, which start other processes.
func AskerText() string {
	a := newAsker()
	return fmt.Sprint("uid ", a.uid, " name ", a.name, " root ", a.root, " container ", a.container, " docker ", a.docker, " blind ", a.blind)
}
