package bench_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain also is the process that countSystemCalls traces.
func TestMain(m *testing.M) {
	name, ok := os.LookupEnv(tracedEnv)
	if !ok {
		os.Exit(m.Run())
	}
	if err := traced(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	tracedEnv  = "BENCH_TRACED"
	tracedRuns = 100

	begin = "begin of the traced runs"
	end   = "end of the traced runs"
)

// traceable are the system calls that count: those that make, configure, bind
// and close a socket or duplicate its descriptor, register it with the poller,
// and read a setting or handle a socket or lock file on the way.
//
// Those by which the Go runtime manages threads, memory and signals do not
// count, since they come and go with the moment: futex, mmap, madvise,
// sched_yield, nanosleep, epoll_pwait, tgkill, rt_sigreturn and getpid, though
// of the last kavu and fasthttp make one by themselves.
//
// The question mark lets strace pass over a call that the architecture lacks.
const traceable = "socket,setsockopt,getsockopt,bind,listen,getsockname,getpeername,connect,?accept,accept4," +
	"epoll_create1,epoll_ctl,close,fcntl,dup,dup3,ioctl," +
	"sendto,recvmsg,readlinkat,getdents64,?pidfd_open,?pidfd_getfd," +
	"?open,openat,read,pread64,lseek,?stat,?lstat,fstat,?newfstatat,?statx,?unlink,unlinkat,flock"

// traced runs the operation of that name between two marks: writes that fail,
// but that the trace shows. It stays on its thread, because only that one's
// calls are counted, and without garbage collection, because a finalizer that
// closed something would count too.
func traced(name string) error {
	all := slices.Concat(traceableOperations(), accepts())
	i := slices.IndexFunc(all, func(o operation) bool { return o.String() == name })
	if i < 0 {
		return fmt.Errorf("no operation %q", name)
	}
	o := all[i]
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if _, err := o.start(); err != nil {
		return err
	}
	unix.Write(-1, []byte(begin))
	for range tracedRuns {
		if err := o.run(); err != nil {
			return err
		}
	}
	unix.Write(-1, []byte(end))
	return nil
}

// calls says how often tracedRuns operations made each system call.
type calls map[string]int

func (c calls) total() (n int) {
	for _, count := range c {
		n += count
	}
	return n
}

// errNoStrace says why strace cannot be used here.
var errNoStrace = errors.New("needs strace and the right to use it")

// countSystemCalls runs o in a process of its own, under strace, in the calling
// thread's network namespace.
func countSystemCalls(o operation) (calls, error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoStrace, err)
	}
	if out, err := exec.Command(strace, "-o", os.DevNull, strace, "-V").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %w: %s", errNoStrace, err, out)
	}
	dir, err := os.MkdirTemp("", "reuse-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "trace")
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(strace, "-f", "-o", file, "-e", "signal=none", "-e", "trace=write,"+traceable, self)
	// The race detector's runtime would wait for a second at exit.
	cmd.Env = append(os.Environ(), tracedEnv+"="+o.String(), "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("strace of %v: %w: %s", o, err, out)
	}
	trace, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer trace.Close()
	return parseTrace(trace)
}

// parseTrace counts the calls between the marks by the thread that set them.
// Of a call that is shown in two parts, the second has no name at the line's
// beginning.
func parseTrace(trace io.Reader) (calls, error) {
	call := regexp.MustCompile(`^(\d+) +(\w+)\((?:-1, "([^"]*)")?`)
	counts := calls{}
	thread := ""
	lines := bufio.NewScanner(trace)
	for lines.Scan() {
		m := call.FindStringSubmatch(lines.Text())
		switch {
		case m == nil:
		case m[3] == begin:
			thread = m[1]
		case m[1] != thread:
		case m[3] == end:
			return counts, nil
		case m[2] != "write":
			counts[m[2]]++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return nil, errors.New("the trace has no end mark")
}
