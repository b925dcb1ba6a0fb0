package procfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

const proc = FS("/proc")

func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{"hanger": hanger, "holder": holder, "odd": testnet.Odd, "waiter": waiter, "seeker": seeker})
}

// holder opens a listener as descriptor args[0], with the name args[1] for
// itself, prints the inode, and ends at the end of its input.
func holder(args []string) error {
	at, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/comm", []byte(args[1]), 0); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if fd != at {
		if err := unix.Dup3(fd, at, unix.O_CLOEXEC); err != nil {
			return err
		}
		unix.Close(fd)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(at, &stat); err != nil {
		return err
	}
	fmt.Println(stat.Ino)
	return wait()
}

// waiter prints a line, and ends at the end of its input.
func waiter([]string) error {
	fmt.Println("ready")
	return wait()
}

func wait() error {
	bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// seeker looks for the socket with inode args[1], which process args[0] has as
// descriptor args[2], and prints what it learns.
func seeker(args []string) error {
	pid, err1 := strconv.Atoi(args[0])
	number, err2 := strconv.ParseUint(args[1], 10, 32)
	fd, err3 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	wanted := map[uint32]bool{uint32(number): true}
	owners := proc.FindOwners(context.Background(), new(Guard), wanted, nil)
	one := Owners{Found: map[uint32][]Descriptor{}}
	_, looked := one.look(context.Background(), proc, Descriptor{PID: pid}, wanted, true)
	_, _, options := Options(Descriptor{PID: pid, FD: fd}, uint32(number))
	fmt.Println("found", len(owners.Found[uint32(number)]), "forbidden", owners.Forbidden > 0, "hidden", owners.Hidden,
		"look", word(looked), "options", word(options))
	return nil
}

// word returns the kind of err.
func word(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, os.ErrPermission):
		return "permission"
	case errors.Is(err, os.ErrNotExist):
		return "absent"
	}
	return strings.ReplaceAll(err.Error(), " ", "_")
}

// start runs a program of TestMain's in another process, and returns the first
// line that it prints. change changes how it is started.
func start(t testing.TB, change func(*exec.Cmd), program string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	if os.Getenv("TESTNET_EMULATED") != "" {
		t.Skip("needs another process of this program, which is emulated")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), "TESTNET_PROGRAM="+program, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	cmd.Dir = "/"
	if change != nil {
		change(cmd)
	}
	if _, err := cmd.StdinPipe(); err != nil {
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
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSuffix(line, "\n")
}

// as makes a process that of another user, with capabilities of root's.
func as(uid uint32, capabilities ...uintptr) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, AmbientCaps: capabilities}
	}
}

// otherUser is not root.
const otherUser = 65534

func needsRoot(t testing.TB, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skipf("needs root, %s", why)
	}
}

// inode returns that of a socket of this process.
func inode(t testing.TB, c syscall.Conn) (inode uint32, fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(number uintptr) {
		var stat unix.Stat_t
		if err := unix.Fstat(int(number), &stat); err != nil {
			t.Fatal(err)
		}
		inode, fd = uint32(stat.Ino), int(number)
	})
	return inode, fd
}
