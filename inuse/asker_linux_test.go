package inuse_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// asker prints who it is.
func asker([]string) error {
	fmt.Println(inuse.AskerText())
	return nil
}

// seer prints what it sees of the socket with inode args[0].
func seer(args []string) error {
	inode, err := strconv.ParseUint(args[0], 10, 32)
	fmt.Println(inuse.SightText(uint32(inode)))
	return err
}

func TestAsker(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedRoot(t)
	if link, _ := os.Readlink("/proc/self/ns/user"); link != "user:[4026531837]" {
		t.Skip("needs the first user namespace")
	}
	inside, _ := os.Readlink("/proc/self/ns/pid")
	container := fmt.Sprint(inside != "pid:[4026531836]")
	for _, test := range []struct {
		name string
		attr *syscall.SysProcAttr
		want string
	}{
		{"root", nil, "uid 0 name root root true container " + container},
		{"a user", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, "uid 65534 name nobody root false container " + container},
		{"a user without a name", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}, "uid 54321 name 54321 root false container " + container},
		{"a user who may do all", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534},
			AmbientCaps: []uintptr{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH, unix.CAP_KILL}}, "uid 65534 name nobody root true container " + container},
		{"root in a container", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}, "uid 0 name root root true container true"},
		{"root of a user namespace", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}}, "uid 0 name root root false container " + container},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Dir = "/"
		cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=asker")
		cmd.SysProcAttr = test.attr
		out, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(test.name, " in ") || err != nil && strings.Contains(test.name, "namespace") {
			t.Logf("%s: needs namespaces: %v", test.name, err)
			continue
		}
		if err != nil || !strings.HasPrefix(string(out), test.want+" ") || !strings.HasSuffix(string(out), "blind false\n") {
			t.Errorf("%s: %s%v, want %s", test.name, out, err, test.want)
		}
	}
}
