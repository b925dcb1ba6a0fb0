package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// actorEnv has the steps of a process of a situation, a line each.
const actorEnv = "WHYINUSE_ACTOR"

// An actor is such a process. What it opens, it keeps.
type actor struct {
	fds  []int
	kept []any // which would be closed if nothing pointed to them

	stays bool // it does not end by itself
}

// actorProgram does its steps, prints "ok", and ends at the end of its input.
func actorProgram([]string) error {
	runtime.LockOSThread() // the first one, as long as nothing has left it
	a := new(actor)
	if err := a.play(); err != nil {
		return err
	}
	fmt.Println("ok")
	if a.stays {
		select {}
	}
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// askProgram does its steps, and is whyinuse then.
func askProgram([]string) error {
	runtime.LockOSThread()
	if err := new(actor).play(); err != nil {
		return err
	}
	main()
	return nil
}

// binderProgram opens a socket without options, or with that which follows its network
// and address, and says why it cannot.
func binderProgram(args []string) error {
	runtime.LockOSThread()
	if err := new(actor).play(); err != nil {
		return err
	}
	var o options
	if len(args) > 2 && args[2] != "" {
		o = map[string]options{"addr": addr, "port": port}[args[2]]
	}
	sock, err := open(args[0], args[1], o)
	if err != nil {
		fmt.Println(err)
		return nil
	}
	sock.Close()
	fmt.Println("ok")
	return nil
}

func (a *actor) play() error {
	for step := range strings.Lines(os.Getenv(actorEnv)) {
		words := strings.Fields(step)
		if err := a.step(words[0], words[1:]); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(step), err)
		}
	}
	return nil
}

func (a *actor) step(verb string, args []string) error {
	switch verb {
	case "tcp", "udp": // ADDRESS OPTION…
		return a.socket(verb, args[0], args[1:])
	case "unix": // PATH
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		a.fds = append(a.fds, fd)
		return errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: args[0]}), unix.Listen(fd, 1))
	case "connect": // LOCAL REMOTE [nonblock]
		local, remote := netip.MustParseAddrPort(args[0]), netip.MustParseAddrPort(args[1])
		fd, err := testnet.Bind(unix.SOCK_STREAM, local, false, testnet.NoOption)
		if err != nil {
			return err
		}
		a.fds = append(a.fds, fd)
		if len(args) > 2 {
			if err := unix.SetNonblock(fd, true); err != nil {
				return err
			}
		}
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(remote.Port()), Addr: remote.Addr().As4()})
		if len(args) > 2 && err == unix.EINPROGRESS {
			return nil
		}
		return err
	case "dial": // REMOTE, until there is no port left
		for {
			remote := netip.MustParseAddrPort(args[0])
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			a.fds = append(a.fds, fd)
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(remote.Port()), Addr: remote.Addr().As4()})
			if err == unix.EADDRNOTAVAIL {
				return nil
			}
			if err != nil {
				return err
			}
		}
	case "child": // UID CGROUP PROGRAM ARGUMENT…: it gets the last socket
		return a.child(args[0], args[1], args[2:])
	case "accept": // at the socket before the last
		fd, _, err := unix.Accept4(a.fds[len(a.fds)-2], unix.SOCK_CLOEXEC)
		a.fds = append(a.fds, fd)
		return err
	case "forget": // closes a socket
		for _, arg := range args {
			n, err := strconv.Atoi(arg)
			if err != nil {
				return err
			}
			if err := unix.Close(a.fds[n]); err != nil {
				return err
			}
		}
		return nil
	case "move": // CGROUP
		return os.WriteFile(filepath.Join(args[0], "cgroup.procs"), []byte("0"), 0)
	case "join": // PID: whyinuse runs in its namespaces
		return join(args[0])
	case "pid":
		fmt.Println("child", os.Getpid())
		return nil
	case "stay":
		a.stays = true
		go func() { // for the runtime, which would see a deadlock
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, unix.SIGUSR1)
			<-signals
		}()
		return nil
	case "ring":
		return a.fix()
	case "thread": // ends, and another one lives on
		return endFirstThread()
	case "trace": // PID
		pid, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		return trace(pid)
	case "proc":
		return private("proc", "/proc")
	case "no-proc":
		return private("tmpfs", "/proc")
	case "landlock":
		return landlock()
	case "run": // PROGRAM ARGUMENT…
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	return errors.New("no such step")
}

func (a *actor) socket(network, address string, words []string) error {
	kind := map[string]int{"tcp": unix.SOCK_STREAM, "udp": unix.SOCK_DGRAM}[network]
	at := netip.MustParseAddrPort(address)
	var o testnet.Options
	v6only, device, backlog, owner := false, "", -1, -1
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "addr":
			o |= testnet.ReuseAddr
		case "port":
			o |= testnet.ReusePort
		case "v6only":
			v6only = true
		case "device":
			device = value
		case "listen":
			backlog = 128
		case "owner":
			owner, _ = strconv.Atoi(value)
		default:
			return errors.New("no option " + word)
		}
	}
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	if at.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	a.fds = append(a.fds, fd)
	if err := o.Set(fd); err != nil {
		return err
	}
	if v6only {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if device != "" { // which the kernel has to know first
		if err := unix.BindToDevice(fd, device); err != nil {
			return err
		}
	}
	if owner >= 0 { // the socket's, as if a process of that user had opened it
		if err := unix.Fchown(fd, owner, owner); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return err
	}
	if backlog >= 0 {
		return unix.Listen(fd, backlog)
	}
	return nil
}

// child starts a process that has the last socket as its descriptor 3, and prints its
// pid. Its input ends with this process's.
func (a *actor) child(uid, cgroup string, args []string) error {
	file, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{Path: file, Args: args, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{}}
	cmd.Env = append(os.Environ(), actorEnv+"=")
	if cgroup != "-" {
		dir, err := os.Open(cgroup)
		if err != nil {
			return err
		}
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	if n, err := strconv.Atoi(uid); err == nil && n != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(n), Gid: uint32(n)}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(a.fds[len(a.fds)-1]), "socket")
	a.kept = append(a.kept, in, f)
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		return err
	}
	fmt.Println("child", cmd.Process.Pid)
	go cmd.Wait()
	return nil
}

// trace stops all threads of a process, as a debugger does.
func trace(pid int) error {
	stopped := map[int]bool{}
	for {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		before := len(stopped)
		for _, entry := range threads {
			thread, err := strconv.Atoi(entry.Name())
			if err != nil || stopped[thread] {
				continue
			}
			if err := unix.PtraceAttach(thread); err != nil {
				return os.NewSyscallError("ptrace", err)
			}
			if _, err := unix.Wait4(thread, nil, unix.WALL, nil); err != nil {
				return os.NewSyscallError("wait4", err)
			}
			stopped[thread] = true
		}
		if len(stopped) == before {
			return nil
		}
	}
}

// fix makes the last socket a fixed file of a new io_uring, and closes its descriptor.
func (a *actor) fix() error {
	var parameters [120]byte // struct io_uring_params
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&parameters)), 0)
	if errno != 0 {
		return errors.Join(errors.ErrUnsupported, os.NewSyscallError("io_uring_setup", errno))
	}
	const registerFiles = 2 // IORING_REGISTER_FILES
	last := len(a.fds) - 1
	files := [1]int32{int32(a.fds[last])}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, registerFiles, uintptr(unsafe.Pointer(&files)), 1, 0, 0); errno != 0 {
		return os.NewSyscallError("io_uring_register", errno)
	}
	err := unix.Close(a.fds[last])
	a.fds = a.fds[:last]
	return err
}

// endFirstThread ends the first thread of this process, which lives on in another.
func endFirstThread() error {
	if unix.Gettid() != os.Getpid() {
		return errors.New("not the first thread")
	}
	go func() {
		for { // until it is a zombie
			stat, _ := os.ReadFile("/proc/self/stat")
			if strings.Contains(string(stat), ") Z ") {
				break
			}
			runtime.Gosched()
		}
		fmt.Println("ok")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	return errors.New("exit returned")
}

// private mounts a file system for this process, which has a mount namespace of its own.
func private(kind, dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("none", dir, kind, 0, "")
}

// landlock lets the calling thread bind no TCP port.
func landlock() error {
	const version = 1
	if abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version); errno != 0 || abi < 4 {
		return errors.ErrUnsupported
	}
	attr := unix.LandlockRulesetAttr{Handled_access_net: unix.LANDLOCK_ACCESS_NET_BIND_TCP}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return os.NewSyscallError("landlock_create_ruleset", errno)
	}
	defer unix.Close(int(fd))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return os.NewSyscallError("landlock_restrict_self", errno)
	}
	return nil
}

// inFlight puts a socket on its way to somebody who has not received it yet, so that no
// process has it.
func inFlight(fd int) (end func(), err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0)
	unix.Close(fd)
	return func() {
		unix.Close(pair[0])
		unix.Close(pair[1])
	}, err
}

// join runs whyinuse in the pid and mount namespaces of a process, and ends this one.
func join(pid string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	var fds []int
	for _, name := range []string{"pid", "mnt"} {
		fd, err := unix.Open(filepath.Join("/proc", pid, "ns", name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		if err := unix.Setns(fd, 0); err != nil {
			return os.NewSyscallError("setns", err)
		}
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=whyinuse")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return err
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return nil
}

// programsIn makes programs of these names in a directory, which are this one. Those that
// another program begins cannot be /proc/self/exe.
func programsIn(dir string, names ...string) error {
	const first = "whyinuse"
	file := filepath.Join(dir, first)
	if _, err := os.Lstat(file); err != nil {
		own, err := os.Executable()
		if err == nil {
			err = os.Link(own, file)
		}
		if err != nil {
			if err := copyProgram(file); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		if err := os.Symlink(first, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// copyProgram copies this program.
func copyProgram(file string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// awaitLine reads lines until one is "ok", and returns the others.
func awaitLine(out *bufio.Reader) (lines []string, err error) {
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			return lines, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "ok" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}
