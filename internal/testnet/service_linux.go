package testnet

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

//go:generate go run testdata/syscalls.go

//go:embed testdata/syscalls.txt
var syscalls string

// A Sandbox is what systemd lets a service do.
type Sandbox struct {
	Unprivileged bool       // SystemCallFilter=@system-service and ~@privileged; else the first alone
	Errno        unix.Errno // SystemCallErrorNumber=; if 0, other system calls kill the process
	NoNetlink    bool       // RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
}

// KillSandboxes are those of both lists that kill, with and without netlink.
func KillSandboxes() []Sandbox {
	all := []Sandbox{{}, {Unprivileged: true}}
	if seesArguments {
		all = append(all, Sandbox{NoNetlink: true}, Sandbox{Unprivileged: true, NoNetlink: true})
	}
	return all
}

// String returns the lines of the unit, in short.
func (s Sandbox) String() string {
	words := []string{"@system-service"}
	if s.Unprivileged {
		words = append(words, "~@privileged")
	}
	if s.Errno != 0 {
		words = append(words, unix.ErrnoName(s.Errno))
	}
	if s.NoNetlink {
		words = append(words, "no AF_NETLINK")
	}
	return strings.Join(words, " ")
}

// Enter makes this process one of such a service. It can do so once: the filter has
// no place for seccomp(2).
func (s Sandbox) Enter() error {
	filter, err := s.filter()
	if err != nil {
		return err
	}
	_, err = Seccomp(0, filter)
	return err
}

const (
	loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	give     = unix.BPF_RET | unix.BPF_K
)

// filter returns the program. As systemd's, it refuses sockets of other families
// with EAFNOSUPPORT, whatever else is refused how.
func (s Sandbox) filter() ([]unix.SockFilter, error) {
	numbers, err := s.numbers(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	const number, firstArgument = 0, 16 // in struct seccomp_data
	var program []unix.SockFilter
	if s.NoNetlink {
		families := []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6}
		program = append(program,
			unix.SockFilter{Code: loadWord, K: number},
			unix.SockFilter{Code: equal, K: unix.SYS_SOCKET, Jf: uint8(len(families) + 2)},
			unix.SockFilter{Code: loadWord, K: firstArgument + LowWord()})
		for i, family := range families {
			program = append(program, unix.SockFilter{Code: equal, K: family, Jt: uint8(len(families) - i)})
		}
		program = append(program, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)})
	}
	program = append(program, unix.SockFilter{Code: loadWord, K: number})
	for _, n := range numbers {
		program = append(program,
			unix.SockFilter{Code: equal, K: n, Jf: 1},
			unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW})
	}
	var action uint32 = unix.SECCOMP_RET_KILL_PROCESS
	if s.Errno != 0 {
		action = unix.SECCOMP_RET_ERRNO | uint32(s.Errno)
	}
	return append(program, unix.SockFilter{Code: give, K: action}), nil
}

// numbers returns those of the system calls that the list has, on an architecture.
func (s Sandbox) numbers(architecture string) (numbers []uint32, err error) {
	column := -1
	for line := range strings.Lines(syscalls) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case column < 0:
			if column = slices.Index(fields, architecture); column < 0 {
				return nil, fmt.Errorf("no system calls of %s: %w", architecture, errors.ErrUnsupported)
			}
			continue
		case s.Unprivileged && strings.HasPrefix(line, "-"), fields[column] == "-":
			continue
		}
		n, err := strconv.ParseUint(fields[column], 10, 32)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, uint32(n))
	}
	return numbers, nil
}

// sandboxEnv has the sandbox that a program of Main's is to enter.
const sandboxEnv = "TESTNET_SANDBOX"

const sandboxFormat = "%t %d %t"

// enterSandbox enters the one that StartSandboxed chose. What the process starts is in it
// by itself.
func enterSandbox() error {
	text, ok := os.LookupEnv(sandboxEnv)
	if !ok {
		return nil
	}
	os.Unsetenv(sandboxEnv)
	var s Sandbox
	if _, err := fmt.Sscanf(text, sandboxFormat, &s.Unprivileged, &s.Errno, &s.NoNetlink); err != nil {
		return err
	}
	return s.Enter()
}

// StartSandboxed is [Start] in a sandbox, which the program enters before it begins.
func StartSandboxed(t testing.TB, s Sandbox, uid int, program string, args ...string) *Process {
	t.Helper()
	if s.NoNetlink {
		NeedArguments(t)
	}
	return start(t, []string{sandboxEnv + "=" + fmt.Sprintf(sandboxFormat, s.Unprivileged, s.Errno, s.NoNetlink)}, uid, program, args...)
}

// Survived fails the test if a program of which it waits for the end did not end well;
// if it was killed by its sandbox, by saying so.
func (p *Process) Survived(t testing.TB) {
	t.Helper()
	err := p.Wait()
	if p.killedBySandbox() {
		t.Error("killed by its sandbox, in a system call that is not in the list")
	} else if err != nil {
		t.Error(err)
	}
}

// Killed fails the test unless the sandbox of the program killed it.
func (p *Process) Killed(t testing.TB) {
	t.Helper()
	if err := p.Wait(); !p.killedBySandbox() {
		t.Errorf("not killed by its sandbox: %v", err)
	}
}

func (p *Process) killedBySandbox() bool {
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGSYS
}
