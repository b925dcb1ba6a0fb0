package testnet

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	programEnv = "TESTNET_PROGRAM"

	// Set where an emulator of user mode runs the tests: the kernel could not
	// execute them, and the emulator may hang already when it forks. "swapped"
	// where the emulated byte order is not the kernel's.
	emulatedEnv = "TESTNET_EMULATED"
	swapped     = "swapped"

	// How many times slower than others an emulated machine is.
	slowEnv = "TESTNET_SLOW"
)

// Slow returns d, or on a slow machine as much more as that is slower.
func Slow(d time.Duration) time.Duration { return d * time.Duration(Slowness()) }

// Slowness returns how many times slower than others this machine is.
func Slowness() int {
	n, err := strconv.Atoi(os.Getenv(slowEnv))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// Main is for TestMain. It runs one of programs where Start began this process,
// and the tests otherwise.
func Main(m *testing.M, programs map[string]func(args []string) error) {
	name, ok := os.LookupEnv(programEnv)
	if !ok {
		os.Exit(m.Run())
	}
	err := enterSandbox()
	if err == nil {
		err = programs[name](os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A Process is a program that Start began.
type Process struct {
	*exec.Cmd
	In  io.WriteCloser
	out *bufio.Reader
}

// Start runs a program of Main's in a process of its own, as user uid. It is
// killed at the end of the test, or after a minute, ten minutes if tests are [Long]. What it prints to its standard error is shown if the test fails.
func Start(t testing.TB, uid int, program string, args ...string) *Process {
	t.Helper()
	return start(t, nil, uid, program, args...)
}

func start(t testing.TB, env []string, uid int, program string, args ...string) *Process {
	t.Helper()
	if os.Getenv(emulatedEnv) != "" {
		t.Skip("needs another process of this program, which is emulated")
	}
	// By this name another user can run it, although the directories that
	// go test makes are closed to others.
	cmd := exec.Command("/proc/self/exe", args...)
	// With the race detector a process would sleep for a second at its end.
	cmd.Env = append(os.Environ(), programEnv+"="+program, "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, env...)
	// No pipe, which a process that it starts could keep open.
	fd, err := unix.MemfdCreate("stderr", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.NewFile(uintptr(fd), "stderr")
	t.Cleanup(func() { stderr.Close() })
	cmd.Stderr = stderr
	if uid != os.Getuid() {
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)},
		}
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
	// A test that waits for it is not to wait until the test binary times out.
	lifetime := Slow(time.Minute)
	if Long {
		lifetime *= 10
	}
	guard := time.AfterFunc(lifetime, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		guard.Stop()
		cmd.Process.Kill()
		cmd.Wait()
		said := make([]byte, 4096)
		if n, _ := stderr.ReadAt(said, 0); n > 0 && t.Failed() {
			t.Logf("process %d, %s, says:\n%s", cmd.Process.Pid, program, said[:n])
		}
	})
	return &Process{Cmd: cmd, In: in, out: bufio.NewReader(out)}
}

// Line returns the next line that the program prints, "" at the end.
func (p *Process) Line(t testing.TB) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\n")
}

// End waits for the program to end, and returns its exit code and the lines that it
// still printed, up to an empty one.
func (p *Process) End(t testing.TB) (code int, lines []string) {
	t.Helper()
	for line := p.Line(t); line != ""; line = p.Line(t) {
		lines = append(lines, line)
	}
	p.Wait()
	return p.ProcessState.ExitCode(), lines
}

// Stop kills the process.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait()
}

// Descriptors returns how many descriptors this process has.
func Descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// NeedSocketTypes skips the test where the kernel, or a recording of another one,
// shows other numbers for the types of sockets than this architecture's: MIPS has 1
// and 2 the other way round.
func NeedSocketTypes(t testing.TB) {
	t.Helper()
	if syscall.SOCK_STREAM != 1 {
		t.Skip("needs an architecture with the usual numbers of socket types")
	}
}

// native reports whether the kernel itself runs this program. What an emulator of another
// architecture runs can start no copy of itself by its file.
var native = sync.OnceValue(func() bool {
	return !errors.Is(exec.Command("/proc/self/exe", "-test.run", "^$").Run(), syscall.ENOEXEC)
})

// NeedNative skips the test under an emulator of another architecture, which does not
// have all of netlink, of procfs and of its own processes.
func NeedNative(t testing.TB) {
	t.Helper()
	if !native() {
		t.Skip("needs a kernel of this architecture")
	}
}

// NeedRoot skips the test unless root runs it.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, for processes of other users")
	}
}
