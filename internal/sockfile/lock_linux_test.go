package sockfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A user of these tests is also a member of the group that directories have.
type user struct{ uid, gid int }

const (
	owner  = 2001
	first  = 2002
	second = 2003
	group  = 3001
)

// become makes this process one of the user, for good.
func (u user) become() error {
	if u.uid == 0 {
		return nil
	}
	return errors.Join(syscall.Setgroups([]int{u.gid}), syscall.Setgid(u.uid), syscall.Setuid(u.uid))
}

// refuse gives this process a filter with an action for the system call nr.
func refuse(nr int, action uint32) error {
	_, err := testnet.Seccomp(0, []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
		{Code: unix.BPF_RET, K: action},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	})
	return err
}

// locker locks "socket" as the user args[0] of the group args[1], with the umask
// args[2]. It ends at the system call args[3], or with the end of its input.
func locker(args []string) error {
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(args[i])
	}
	syscall.Umask(n[2])
	if err := (user{n[0], n[1]}).become(); err != nil {
		return err
	}
	if n[3] >= 0 {
		// Not SECCOMP_RET_KILL_PROCESS, of which gVisor kills one thread. Go
		// ends with the code 2 at once, and would print all stacks.
		silent, err := unix.Open(".", unix.O_RDONLY, 0)
		if err := errors.Join(err, unix.Dup3(silent, 2, 0), refuse(n[3], unix.SECCOMP_RET_TRAP)); err != nil {
			return err
		}
	}
	// Its filter is for the test alone.
	unlock, err := lockBy("socket", func() bool { return true })
	if err != nil {
		return err
	}
	if unlock == nil {
		return errors.New("somebody else has the lock")
	}
	fmt.Println("locked")
	_, err = io.Copy(io.Discard, os.Stdin)
	unlock()
	return err
}

// remover removes "socket" as the user args[0] of the group args[1], and prints the
// state. With "open" it opens the lock file instead.
func remover(args []string) error {
	uid, _ := strconv.Atoi(args[0])
	gid, _ := strconv.Atoi(args[1])
	if err := (user{uid, gid}).become(); err != nil {
		return err
	}
	switch args[2] {
	case "open":
		for _, flag := range []int{os.O_RDONLY, os.O_WRONLY} {
			f, err := os.OpenFile("socket.reuse-lock", flag, 0)
			if !errors.Is(err, fs.ErrPermission) {
				fmt.Println(f.Name(), err)
				return nil
			}
		}
		fmt.Println("not permitted")
		return nil
	case "no links":
		if err := refuse(unix.SYS_LINKAT, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)); err != nil {
			return err
		}
		if err := os.Link("socket", "link"); !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("link: %v, want EPERM", err)
		}
	}
	state, err := Remove("socket")
	fmt.Println(state, err)
	return nil
}

func remove1(t testing.TB, u user, how string) string {
	t.Helper()
	return testnet.Start(t, 0, "remover", fmt.Sprint(u.uid), fmt.Sprint(u.gid), how).Line(t)
}

// staleOf leaves an old socket file that the user may probe and remove.
func staleOf(t testing.TB, uid int) {
	t.Helper()
	leave(t, "socket")
	err := errors.Join(os.Chmod("socket", 0o777), os.Chown("socket", uid, -1),
		os.Chtimes("socket", time.Time{}, time.Now().Add(-time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
}

// The lock file of a killed process blocks nobody who may write to the directory,
// wherever it was killed and whatever its umask; and nobody else can open it.
func TestKilled(t *testing.T) {
	// A system call at which it is killed, or -1: when it has the lock.
	calls := map[string]int{"locked": -1, "unlinkat": unix.SYS_UNLINKAT}
	if testnet.Long {
		maps.Copy(calls, map[string]int{"fchown": unix.SYS_FCHOWN, "fchmod": unix.SYS_FCHMOD, "linkat": unix.SYS_LINKAT, "flock": unix.SYS_FLOCK})
	}
	testnet.NeedRoot(t)
	for _, test := range []struct {
		name               string
		mode               uint32
		uid, gid           int
		killed, next, none user // next may write to the directory, none may not
	}{
		{"sticky", 0o1777, 0, 0, user{first, first}, user{second, second}, user{}},
		{"everybody's", 0o777, 0, 0, user{first, first}, user{second, second}, user{}},
		{"group's", 0o775, 0, group, user{first, group}, user{second, group}, user{owner, owner}},
		{"group's, inherited", 0o2775, 0, group, user{first, group}, user{second, group}, user{owner, owner}},
		{"group's, sticky", 0o1775, 0, group, user{first, group}, user{second, group}, user{owner, owner}},
		{"owner's, killed root", 0o755, owner, group, user{}, user{owner, owner}, user{first, group}},
		{"owner's", 0o755, owner, group, user{owner, owner}, user{owner, owner}, user{first, group}},
		{"owner's, next root", 0o755, owner, group, user{owner, owner}, user{}, user{first, group}},
	} {
		for call, nr := range calls {
			for _, umask := range []int{0, 0o077} {
				if umask == 0 && nr >= 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%03o", test.name, call, umask), func(t *testing.T) {
					t.Chdir(t.TempDir())
					if err := errors.Join(os.Chown(".", test.uid, test.gid), unix.Chmod(".", test.mode)); err != nil {
						t.Fatal(err)
					}
					staleOf(t, test.next.uid)
					p := testnet.Start(t, 0, "locker", fmt.Sprint(test.killed.uid), fmt.Sprint(test.killed.gid), fmt.Sprint(umask), fmt.Sprint(nr))
					if nr < 0 {
						if got := p.Line(t); got != "locked" {
							t.Fatalf("the process says %q", got)
						}
						if got := remove1(t, test.next, ""); got != "live <nil>" {
							t.Errorf("while it has the lock: %s", got)
						}
						p.Process.Kill()
					}
					p.In.Close()
					p.Wait()
					if status := p.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() && status.ExitStatus() != 2 {
						t.Fatalf("not killed: %v", p.ProcessState)
					}
					if _, err := os.Lstat("socket.reuse-lock"); err == nil && test.none.uid != 0 {
						if got := remove1(t, test.none, "open"); got != "not permitted" {
							t.Errorf("another user opens the lock file: %s", got)
						}
					}
					if got := remove1(t, test.next, ""); got != "gone <nil>" {
						t.Errorf("the next: %s", got)
					}
				})
			}
		}
	}
}

// Where hard links are not permitted the lock is as good.
func TestNoLinks(t *testing.T) {
	testnet.NeedRoot(t)
	t.Chdir(t.TempDir())
	if err := os.Chmod(".", 0o777); err != nil {
		t.Fatal(err)
	}
	staleOf(t, first)
	if got := remove1(t, user{first, first}, "no links"); got != "gone <nil>" {
		t.Error(got)
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// Of a lock file that cannot be opened the error says what to do.
func TestForeignLock(t *testing.T) {
	testnet.NeedRoot(t)
	t.Chdir(t.TempDir())
	if err := os.Chmod(".", 0o777); err != nil {
		t.Fatal(err)
	}
	staleOf(t, first)
	if err := os.WriteFile("socket.reuse-lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := remove1(t, user{first, first}, "")
	if !strings.HasPrefix(got, "stale open socket.reuse-lock: permission denied (remove it if") {
		t.Error(got)
	}
	if err := os.Remove("socket.reuse-lock"); err != nil {
		t.Fatal(err)
	}
	if got := remove1(t, user{first, first}, ""); got != "gone <nil>" {
		t.Error("the control: ", got)
	}
}
