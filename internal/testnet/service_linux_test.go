package testnet

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Main(m, map[string]func([]string) error{"calls": calls})
}

// calls makes a system call, and prints its error.
func calls(args []string) error {
	var err error
	switch args[0] {
	case "getpid":
		unix.Getpid()
	case "setfsuid":
		_, err = unix.SetfsuidRetUid(-1)
	case "pidfd_getfd":
		_, err = unix.PidfdGetfd(-1, 0, 0)
	case "netlink":
		var fd int
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err == nil {
			err = unix.Close(fd)
		}
	case "unix":
		var fd int
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Close(fd)
		}
	}
	fmt.Println(err)
	return nil
}

// The filters kill who calls what is not in the list, and nobody else.
func TestSandbox(t *testing.T) {
	unprivileged, refusing := Sandbox{Unprivileged: true}, Sandbox{Unprivileged: true, Errno: unix.EPERM}
	for _, test := range []struct {
		sandbox Sandbox
		call    string
		want    string // "" if it is killed
	}{
		{Sandbox{}, "getpid", "<nil>"},
		{Sandbox{}, "setfsuid", "<nil>"}, // it is in @system-service, by way of @setuid
		{Sandbox{}, "pidfd_getfd", ""},
		{unprivileged, "getpid", "<nil>"},
		{unprivileged, "setfsuid", ""},
		{unprivileged, "pidfd_getfd", ""},
		{unprivileged, "netlink", "<nil>"},
		{refusing, "setfsuid", "operation not permitted"},
		{refusing, "pidfd_getfd", "operation not permitted"},
		{Sandbox{NoNetlink: true}, "netlink", "address family not supported by protocol"},
		{Sandbox{NoNetlink: true}, "unix", "<nil>"},
		{Sandbox{Unprivileged: true, NoNetlink: true}, "netlink", "address family not supported by protocol"},
		{Sandbox{Unprivileged: true, NoNetlink: true}, "unix", "<nil>"},
		{Sandbox{Unprivileged: true, NoNetlink: true}, "setfsuid", ""},
	} {
		t.Run(fmt.Sprintf("%v, %s", test.sandbox, test.call), func(t *testing.T) {
			t.Parallel()
			p := StartSandboxed(t, test.sandbox, os.Getuid(), "calls", test.call)
			if got := p.Line(t); got != test.want {
				t.Errorf("it prints %q, want %q", got, test.want)
			}
			if test.want == "" {
				p.Killed(t)
			} else {
				p.Survived(t)
			}
		})
	}
	// The control: without a sandbox all of them return.
	for _, call := range []string{"setfsuid", "pidfd_getfd", "netlink"} {
		p := Start(t, os.Getuid(), "calls", call)
		p.Line(t)
		p.Survived(t)
	}
}

// Each architecture has numbers for what every program calls.
func TestSystemCallNumbers(t *testing.T) {
	for _, arch := range []string{"386", "amd64", "arm64", "riscv64", "s390x", runtime.GOARCH} {
		all, err := Sandbox{}.numbers(arch)
		if err != nil {
			t.Fatal(err)
		}
		some, err := Sandbox{Unprivileged: true}.numbers(arch)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) < 200 || len(some) >= len(all) || len(all) > 400 {
			t.Errorf("%s: %d and %d system calls", arch, len(all), len(some))
		}
	}
	all, _ := Sandbox{}.numbers(runtime.GOARCH)
	for _, n := range []uint32{unix.SYS_READ, unix.SYS_WRITE, unix.SYS_FUTEX, unix.SYS_EXIT_GROUP, unix.SYS_SETUID} {
		if !slices.Contains(all, n) {
			t.Errorf("system call %d is missing", n)
		}
	}
	for _, n := range []uint32{unix.SYS_PIDFD_GETFD, unix.SYS_PTRACE, unix.SYS_MOUNT} {
		if slices.Contains(all, n) {
			t.Errorf("system call %d is there", n)
		}
	}
	if _, err := (Sandbox{}).numbers("pdp11"); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), "pdp11") {
		t.Errorf("another architecture: %v", err)
	}
}
