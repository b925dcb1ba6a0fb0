package inuse_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// texter is a process that opens a socket, and prints the cause and the text if it is
// refused. Its arguments are the network, the address, and what is done before.
func texter(args []string) error {
	runtime.LockOSThread()
	for _, before := range args[2:] {
		var err error
		switch before {
		case "landlock":
			err = landlock()
		case "sandbox":
			err = sandbox()
		case "no-new-rights":
			err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		}
		if err != nil {
			return err
		}
	}
	sock, err := open(args[0], args[1])
	if err == nil {
		sock.Close()
		fmt.Println("passes")
		return nil
	}
	e, ok := errors.AsType[*inuse.Error](inuse.Explain(err))
	if !ok {
		return fmt.Errorf("not explained: %w", err)
	}
	fmt.Printf("%s\n%s", e.Cause, e.Text())
	return nil
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

// sandbox lets this process bind nothing.
func sandbox() error {
	const ok, refuse = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	_, err := testnet.Seccomp(0, []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_BIND, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: refuse},
		{Code: unix.BPF_RET | unix.BPF_K, K: ok},
	})
	return err
}

// A texting is a run of texter.
type texting struct {
	file string // of the program; "" this one
	dir  string
	attr *syscall.SysProcAttr
}

const nobody = 65534

func as(uid int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

// run returns what texter prints.
func (r texting) run(t testing.TB, args ...string) string {
	t.Helper()
	if r.file == "" {
		r.file = "/proc/self/exe"
	}
	cmd := exec.Command(r.file, args...)
	// Landlock lets Multipath TCP, which package net listens with, bind all ports.
	cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=texter", "GORACE=atexit_sleep_ms=0", "GODEBUG=multipathtcp=0")
	cmd.Dir, cmd.SysProcAttr = "/", r.attr
	if r.dir != "" {
		cmd.Dir = r.dir
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if strings.Contains(said.String(), errors.ErrUnsupported.Error()) {
		t.Skip("needs Landlock that knows ports")
	}
	if err != nil {
		t.Fatalf("texter: %v\n%s", err, said.String())
	}
	return string(out)
}

// wantText fails the test unless texter printed the cause and the text.
func wantText(t testing.TB, got string, cause inuse.Cause, text string) {
	t.Helper()
	if want := string(cause) + "\n" + text; got != want {
		t.Errorf("prints\n%swant\n%s", got, want)
	}
}

// mountNamespace gives the calling goroutine a mount namespace, which ends with it.
func mountNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

// mounted returns an empty directory that is a file system of its own.
func mounted(t testing.TB, flags uintptr) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mounted")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := unix.Mount("none", dir, "tmpfs", flags, "mode=755"); err != nil {
		t.Fatal(err)
	}
	// The namespace ends with its thread, before the directory is removed.
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestPrivileged(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	t.Parallel()
	testnet.Namespace(t)
	mountNamespace(t)
	plain, nosuid := mounted(t, 0), mounted(t, unix.MS_NOSUID)
	programs := map[string]string{}
	for _, dir := range []string{plain, nosuid} {
		programs[dir] = filepath.Join(dir, "server")
		install(t, programs[dir])
	}
	nobodys := texting{attr: as(nobody), file: programs[plain]}
	for _, port := range []string{":80", "127.0.0.1:80", "[::1]:80"} {
		for _, network := range []string{"tcp", "udp"} {
			text := goldenText(t, "20", "alice", "nobody", "port 80,", "port 80"+strings.TrimSuffix(" on "+strings.Trim(strings.TrimSuffix(port, ":80"), "[]"), " on ")+",")
			if network == "udp" {
				text = strings.Replace(text, "port 80", "UDP port 80", 1)
			}
			wantText(t, nobodys.run(t, network, port), inuse.CausePrivileged, text)
		}
	}
	onNosuid := texting{attr: as(nobody), file: programs[nosuid]}
	wantText(t, onNosuid.run(t, "tcp", ":80"), inuse.CausePrivileged, goldenText(t, "21", "alice", "nobody", "/srv", nosuid))

	got := nobodys.run(t, "tcp", ":80", "no-new-rights")
	if !strings.Contains(got, "Why: setcap has no effect here, as this process may not gain rights (no_new_privs).\n") || strings.Contains(got, "setcap cap") {
		t.Errorf("prints\n%s", got)
	}

	// The first remedy, where it is given and where it is not.
	for dir, program := range programs {
		capability(t, program)
		want := "passes\n"
		if dir == nosuid {
			want = string(inuse.CausePrivileged)
		}
		r := texting{attr: as(nobody), file: program}
		if got := r.run(t, "tcp", ":80"); !strings.HasPrefix(got, want) {
			t.Errorf("with the capability, on %s: %s", dir, got)
		}
	}
	// The other.
	setNet(t, "ipv4/ip_unprivileged_port_start", "80")
	if got := onNosuid.run(t, "tcp", ":80"); got != "passes\n" {
		t.Errorf("the advice does not help: %s", got)
	}
	if got := onNosuid.run(t, "tcp", ":79"); !strings.Contains(got, "may not use ports below 80.") {
		t.Errorf("prints\n%s", got)
	}
}

// install copies this program.
func install(t testing.TB, file string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
}

// capability does what setcap cap_net_bind_service=+ep does (struct vfs_cap_data).
func capability(t testing.TB, file string) {
	t.Helper()
	const revision2, effective, netBindService = 2, 1, 1 << unix.CAP_NET_BIND_SERVICE >> 8
	data := []byte{effective, 0, 0, revision2, 0, netBindService, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(file, "security.capability", data, 0); err != nil {
		t.Skipf("needs a file system with capabilities: %v", err)
	}
}

// TestPrivilegedInside: root of a user namespace is not root of its network namespace.
func TestPrivilegedInside(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	t.Parallel()
	testnet.Namespace(t)
	inside := texting{attr: &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}},
		Credential:  &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
	}}
	text := strings.ReplaceAll(goldenText(t, "22", "user alice", "user 65534"), "sudo ", "")
	wantText(t, strings.ReplaceAll(inside.run(t, "tcp", ":80"), "sudo ", ""), inuse.CausePrivileged, text)
	setNet(t, "ipv4/ip_unprivileged_port_start", "80")
	if got := inside.run(t, "tcp", ":80"); got != "passes\n" {
		t.Errorf("the advice does not help: %s", got)
	}
	// One that has its network namespace to itself may use all ports.
	setNet(t, "ipv4/ip_unprivileged_port_start", "1024")
	inside.attr.Cloneflags |= unix.CLONE_NEWNET
	if got := inside.run(t, "tcp", ":80"); got != "passes\n" {
		t.Errorf("with a network namespace of its own: %s", got)
	}
}

func TestForbidden(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	t.Parallel()
	testnet.Namespace(t)
	nobodys := texting{attr: as(nobody)}
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		t.Skip("needs a system without SELinux")
	}
	wantText(t, nobodys.run(t, "tcp", ":8443", "landlock"), inuse.CauseForbidden, goldenText(t, "37b", "alice", "nobody"))
	if got := nobodys.run(t, "tcp", ":8443"); got != "passes\n" {
		t.Errorf("without Landlock: %s", got)
	}
	// EPERM, as of a sandbox, is the same.
	testnet.NeedArguments(t)
	wantText(t, nobodys.run(t, "udp", ":8443", "sandbox"), inuse.CauseForbidden, goldenText(t, "37b", "alice", "nobody", "port", "UDP port"))
	got := nobodys.run(t, "unix", "/tmp/app.sock", "sandbox")
	if !strings.HasPrefix(got, "forbidden\n") || !strings.Contains(got, "see which rule it was") {
		t.Errorf("prints\n%s", got)
	}
	// Where SELinux enforces its policy, that is what it is, as a rule.
	mountNamespace(t)
	if err := unix.Mount("none", "/sys/fs", "tmpfs", 0, "mode=755"); err != nil {
		t.Skipf("needs to mount on /sys/fs: %v", err)
	}
	if err := os.Mkdir("/sys/fs/selinux", 0o755); err != nil {
		t.Fatal(err)
	}
	for enforce, id := range map[string]string{"1": "37", "0": "37b"} {
		if err := os.WriteFile("/sys/fs/selinux/enforce", []byte(enforce), 0o644); err != nil {
			t.Fatal(err)
		}
		wantText(t, nobodys.run(t, "tcp", ":8443", "landlock"), inuse.CauseForbidden, goldenText(t, id, "alice", "nobody"))
	}
	// Who has the port comes first.
	p := hold(t, 0, "listen", "127.0.0.1:8443", testnet.NoOption)
	if got := nobodys.run(t, "tcp", ":8443", "landlock"); !slices.Contains([]string{"hidden", "listener"}, strings.SplitN(got, "\n", 2)[0]) {
		t.Errorf("prints\n%s", got)
	}
	p.Stop(t)
}
