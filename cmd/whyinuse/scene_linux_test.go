package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A scene is a situation of golden.txt that is made for real, in a network namespace of
// its own.
type scene struct {
	testing.TB
	golden golden
	dir    string // of this scene
	bin    string // where all programs are this one
	cgroup string // below which it makes others; "" if that cannot be done

	// How whyinuse is asked.
	asker  int // its user
	args   []string
	steps  []string // what it does before
	inside int      // a process in whose namespaces it runs
	slow   bool     // its time is up before it has seen all
	flags  uintptr  // its new namespaces
	maps   []syscall.SysProcIDMap
	in     string // its directory
	at     string // the address that cannot be bound, if it is not the one that is asked about

	// What is seen to be true of the advice.
	binder         int               // who can have the address at last
	words          map[string]string // what is printed in place of the golden text's words
	numbers        []number          // the same, where only the output tells
	actors         []*player
	ends           []func() // what else there is to be ended
	before         func()   // before the first remedy
	last           func()   // after it
	applies        string   // the kind of the remedy that is applied; "" the first that can be
	by             string   // who has it, in what root is told: "(pid 812)"
	o              object   // what is said
	right          string   // the address that can be bound at last, if that is another
	again          bool     // it is asked once more, before the first remedy
	patience       string   // how long the advice may take
	standInsAsRoot bool     // the asker may do what takes root, to the programs that are stood in for
	notes          []string
}

// A number is what is read from the output.
type number struct {
	golden    string
	at        *regexp.Regexp
	low, high int
}

// newScene returns the scene of a golden text.
func newScene(t testing.TB, g golden) *scene {
	t.Helper()
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.NeedSocketTypes(t)
	testnet.Namespace(t)
	dir, err := os.MkdirTemp("", "whyinuse") // t.TempDir's parents are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &scene{TB: t, golden: g, dir: dir, bin: filepath.Join(dir, "bin"), in: "/", words: map[string]string{}}
	s.must(os.Chmod(dir, 0o755))
	s.must(os.Mkdir(s.bin, 0o755))
	s.must(programsIn(s.bin, "whyinuse"))
	s.must(standIns(s.bin))
	s.cgroups()
	asker, args, _ := strings.Cut(g.asked, ": ")
	s.args = strings.Fields(args)
	if asker == "alice" {
		s.asker, s.binder = nobody, nobody
	}
	for _, user := range []string{"alice", "redis", "mpd", "www-data", "app", "avahi", "systemd-resolve", "tomcat", "haproxy"} {
		s.words["user "+user] = "user nobody"
	}
	s.words["of alice"], s.words["that alice"] = "of nobody", "that nobody"
	t.Cleanup(func() { // before the removals
		for _, p := range slices.Backward(s.actors) { // a debugger before what it has stopped
			p.end()
		}
		for _, end := range s.ends {
			end()
		}
	})
	return s
}

func (s *scene) must(err error) {
	s.Helper()
	if errors.Is(err, errors.ErrUnsupported) {
		s.Skip(err)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// is says what is printed in place of a word of the golden text.
func (s *scene) is(golden string, now any) { s.words[golden] = fmt.Sprint(now) }

// reads takes a number from the output, in place of the golden one.
func (s *scene) reads(golden, at string, low, high int) {
	s.numbers = append(s.numbers, number{golden, regexp.MustCompile(at), low, high})
}

func (s *scene) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// cgroups makes the cgroup of the scene: in the machine's hierarchy or, where nothing may
// be made there, in one that only the scene sees mounted.
func (s *scene) cgroups() {
	mount := ""
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	s.must(err)
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			mount = fields[4]
			break
		}
	}
	name := filepath.Base(s.dir)
	if mount == "" || os.Mkdir(filepath.Join(mount, name), 0o755) != nil {
		testnet.PrivateMounts(s)
		mount = filepath.Join(s.dir, "cgroup")
		s.must(os.Mkdir(mount, 0o755))
		if err := unix.Mount("none", mount, "cgroup2", 0, ""); err != nil {
			return
		}
		s.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
		if os.Mkdir(filepath.Join(mount, name), 0o755) != nil {
			return
		}
	}
	s.cgroup = filepath.Join(mount, name)
	s.Cleanup(func() {
		var dirs []string
		filepath.WalkDir(s.cgroup, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			for range 1000 { // until the last process has left it
				if err := os.Remove(dirs[i]); !errors.Is(err, unix.EBUSY) {
					break
				}
				runtime.Gosched()
			}
		}
	})
}

// unit returns the directory of a cgroup of the scene.
func (s *scene) unit(path string) string {
	s.Helper()
	if s.cgroup == "" {
		s.Skip("needs a cgroup2 hierarchy where a directory can be made")
	}
	dir := filepath.Join(s.cgroup, path)
	s.must(os.MkdirAll(dir, 0o755))
	return dir
}

// A role is what a process of a scene does.
type role struct {
	name   string // its program and arguments
	uid    int
	unit   string // its cgroup
	low    bool   // it may use low ports
	flags  uintptr
	env    []string
	steps  []string
	golden int // its pid in the text
}

// plays starts a process, and waits until it has done its steps.
func (s *scene) plays(r role) *player {
	s.Helper()
	args := strings.Fields(r.name)
	cmd := s.command(args, r.uid, r.flags)
	cmd.Env = append(cmd.Env, "TESTNET_PROGRAM=actor", actorEnv+"="+strings.Join(r.steps, "\n"))
	cmd.Env = append(cmd.Env, r.env...)
	if r.low {
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE}
	}
	s.inGroup(cmd, r.unit)
	return s.starts(cmd, r.golden)
}

// inGroup gives a command a process group and a cgroup.
func (s *scene) inGroup(cmd *exec.Cmd, unit string) {
	s.Helper()
	cmd.SysProcAttr.Setpgid = !cmd.SysProcAttr.Setsid
	if s.cgroup == "" && unit == "" {
		return
	}
	fd, err := unix.Open(s.unit(unit), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	s.must(err)
	s.ends = append(s.ends, func() { unix.Close(fd) })
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
}

// command returns how a program that is this one is started.
func (s *scene) command(args []string, uid int, flags uintptr) *exec.Cmd {
	s.Helper()
	name := filepath.Base(args[0])
	s.must(programsIn(s.bin, name))
	return s.program(filepath.Join(s.bin, name), args, uid, flags)
}

// program returns how a program is started.
func (s *scene) program(file string, args []string, uid int, flags uintptr) *exec.Cmd {
	cmd := &exec.Cmd{Path: file, Args: args, Dir: "/", SysProcAttr: &syscall.SysProcAttr{Cloneflags: flags}}
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "GODEBUG=multipathtcp=0",
		"PATH="+s.bin+":"+os.Getenv("PATH"), "SCENE="+s.dir, "SCENE_CGROUP="+s.cgroup)
	if uid != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	return cmd
}

// A player is a process of a scene.
type player struct {
	*exec.Cmd
	pid      int
	children []*orphan
	in       io.WriteCloser
	out      *bufio.Reader
	lines    []string
	done     bool
}

func (p *player) end() {
	if !p.done {
		p.done = true
		p.Process.Kill()
		p.Wait()
	}
}

// An orphan is a process that this one may not wait for.
type orphan struct{ pid, fd int }

func (o *orphan) kill() {
	unix.PidfdSendSignal(o.fd, unix.SIGKILL, nil, 0)
	o.wait()
}

// wait waits until it has ended.
func (o *orphan) wait() {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return
		}
	}
}

// starts starts an actor, and waits for what it says.
func (s *scene) starts(cmd *exec.Cmd, golden int) *player {
	s.Helper()
	// No pipe, which a process that it starts could keep open.
	stderr, err := os.CreateTemp(s.dir, "stderr")
	s.must(err)
	defer stderr.Close()
	cmd.Stderr = stderr
	p := &player{Cmd: cmd}
	p.in, err = cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	s.actors = append(s.actors, p)
	p.pid = cmd.Process.Pid
	if golden != 0 {
		s.is(strconv.Itoa(golden), p.pid)
	}
	p.out = bufio.NewReader(out)
	p.lines, err = awaitLine(p.out)
	if err != nil {
		p.in.Close()
		p.Process.Kill()
		p.Wait()
		p.done = true
		said, _ := os.ReadFile(stderr.Name())
		if strings.Contains(string(said), errors.ErrUnsupported.Error()) {
			s.Skip(strings.TrimSpace(string(said)))
		}
		s.Fatalf("%s: %v, %s", cmd.Args, err, said)
	}
	for _, line := range p.lines {
		// Those of another pid namespace end with its first process.
		if strings.HasPrefix(line, "child ") && cmd.SysProcAttr.Cloneflags&unix.CLONE_NEWPID == 0 {
			p.children = append(p.children, s.adopts(line))
		}
	}
	return p
}

// adopts reads the line "child PID".
func (s *scene) adopts(line string) *orphan {
	s.Helper()
	pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), "child "))
	s.must(err)
	fd, err := unix.PidfdOpen(pid, 0)
	s.must(err)
	o := &orphan{pid, fd}
	s.ends = append(s.ends, func() {
		o.kill()
		unix.Close(o.fd)
	})
	return o
}

// ip runs ip(8) in the scene's network.
func (s *scene) ip(args string) {
	s.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		s.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// set sets net.NAME.
func (s *scene) set(name, value string) {
	s.Helper()
	s.must(os.WriteFile("/proc/sys/net/"+name, []byte(value), 0))
}

// wire makes the interfaces v0 and v1, which are linked.
func (s *scene) wire(up ...string) {
	s.Helper()
	s.ip("link add v0 type veth peer name v1")
	for _, name := range []string{"v0", "v1"} {
		s.ip("link set " + name + " addrgenmode none")
	}
	for _, name := range up {
		s.ip("link set " + name + " up")
	}
}

// mount gives the scene a file system of its own at a directory.
func (s *scene) mount(dir, options string, flags uintptr) {
	s.Helper()
	testnet.PrivateMounts(s)
	if err := unix.Mount("none", dir, "tmpfs", flags, options); err != nil {
		s.Skipf("needs to mount on %s: %v", dir, err)
	}
	s.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

// ask runs whyinuse.
func (s *scene) ask(args ...string) (code int, stdout string) {
	s.Helper()
	if s.slow {
		var stdout, stderr strings.Builder
		code = run(timeIsUp{s.Context(), time.Now().Add(time.Hour)}, args, &stdout, &stderr)
		return code, stdout.String()
	}
	if s.inside != 0 {
		cmd := s.command(append([]string{"whyinuse"}, args...), 0, 0)
		cmd.Env = append(cmd.Env, "TESTNET_PROGRAM=ask", fmt.Sprint(actorEnv, "=join ", s.inside))
		return s.result(cmd)
	}
	return s.result(s.asking("ask", append([]string{"whyinuse"}, args...)...))
}

// asking returns how a program of TestMain's is run as the asker.
func (s *scene) asking(program string, args ...string) *exec.Cmd {
	s.Helper()
	cmd := s.command(args, s.asker, s.flags)
	cmd.Dir = s.in
	cmd.Env = append(cmd.Env, "TESTNET_PROGRAM="+program, actorEnv+"="+strings.Join(s.steps, "\n"))
	if s.maps != nil {
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = s.maps, s.maps
		cmd.SysProcAttr.Credential = &syscall.Credential{NoSetGroups: true}
	}
	return cmd
}

func (s *scene) result(cmd *exec.Cmd) (code int, stdout string) {
	s.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if strings.Contains(stderr.String(), errors.ErrUnsupported.Error()) {
		s.Skipf("%s: %s", cmd.Args, &stderr)
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		s.Fatalf("%s: %v", cmd.Args, err)
	}
	if stderr.Len() > 0 {
		s.Logf("%s: %s", cmd.Args, &stderr)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// rootAsks runs whyinuse as root, outside of what the asker is in.
func (s *scene) rootAsks(args ...string) (code int, stdout string) {
	s.Helper()
	cmd := s.command([]string{"whyinuse"}, 0, 0)
	cmd.Args = append(cmd.Args, args...)
	cmd.Env = append(cmd.Env, "TESTNET_PROGRAM=whyinuse")
	return s.result(cmd)
}

// shell runs a command as people do.
func (s *scene) shell(uid int, command string) (code int, stdout string) {
	s.Helper()
	cmd := s.program("/bin/sh", []string{"sh", "-c", command}, uid, 0)
	cmd.Env = append(cmd.Env, "TESTNET_PROGRAM=whyinuse")
	return s.result(cmd)
}

// bind says whether a socket can be bound, by the words of the error if not.
func (s *scene) bind(uid int, network, address string, option ...string) string {
	s.Helper()
	args := append([]string{"binder", network, address}, option...)
	cmd := s.command(args, uid, 0)
	cmd.Env = append(cmd.Env, "TESTNET_PROGRAM=binder")
	if uid == s.asker {
		cmd = s.asking("binder", args...)
	}
	_, out := s.result(cmd)
	return strings.TrimSpace(out)
}

// passes fails the test unless a socket can be bound.
func (s *scene) passes(uid int, network, address string, option ...string) {
	s.Helper()
	if said := s.bind(uid, network, address, option...); said != "ok" {
		s.Errorf("the advice does not help: %s", said)
	}
}

// fails fails the test unless a socket cannot be bound.
func (s *scene) fails(uid int, network, address string, option ...string) {
	s.Helper()
	if said := s.bind(uid, network, address, option...); said == "ok" {
		s.Errorf("control: %s %s can be bound", network, address)
	}
}

// A timeIsUp is a context whose time seems not to be up, and is.
type timeIsUp struct {
	context.Context
	deadline time.Time
}

func (c timeIsUp) Deadline() (time.Time, bool) { return c.deadline, true }
func (c timeIsUp) Err() error                  { return context.DeadlineExceeded }
func (c timeIsUp) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// stateOf returns the state of a process, by the letter of the kernel; 0 if it has ended.
func stateOf(pid int) byte {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	if rest == "" {
		return 0
	}
	return rest[0]
}
