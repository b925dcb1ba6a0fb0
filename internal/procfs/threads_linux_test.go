package procfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// odd has a listener that is not in the descriptor table of its first thread. It prints
// the inode, and ends at the end of its input.
func odd(args []string) error {
	runtime.LockOSThread()
	answer := make(chan error)
	go func() {
		runtime.LockOSThread()
		inode, err := hide(args[0])
		if err == nil {
			fmt.Println(inode)
		}
		answer <- err
		select {} // this thread has it
	}()
	if err := <-answer; err != nil {
		return err
	}
	if args[0] == "ended" {
		go wait2()
		return endFirstThread()
	}
	return wait()
}

// wait2 is wait for a process whose first thread ends.
func wait2() {
	wait()
	os.Exit(0)
}

// hide opens a listener for the calling thread.
func hide(how string) (inode uint64, err error) {
	if how == "table" {
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			return 0, err
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Listen(fd, 1); err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, err
	}
	if how == "ring" {
		err := fix(fd)
		if err == unix.ENOSYS || err == unix.EPERM {
			fmt.Println("none")
		}
		return stat.Ino, err
	}
	return stat.Ino, nil
}

// fix makes a socket a fixed file of a new io_uring, and closes its descriptor.
func fix(fd int) error {
	var parameters [120]byte // struct io_uring_params
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&parameters)), 0)
	if errno != 0 {
		return errno
	}
	const registerFiles = 2 // IORING_REGISTER_FILES
	files := [2]int32{-1, int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, ring, registerFiles, uintptr(unsafe.Pointer(&files)), 2, 0, 0); errno != 0 {
		return errno
	}
	return unix.Close(fd)
}

// endFirstThread ends the first thread of this process, and not the process. The main
// goroutine calls it, which has not left that thread.
func endFirstThread() error {
	if unix.Gettid() != os.Getpid() {
		return errors.New("not the first thread")
	}
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	return errors.New("exit returned")
}

// A socket that is not in the table of the first thread is found, until it is closed.
func TestOdd(t *testing.T) {
	for _, how := range []string{"plain", "table", "ended", "ring"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p, line := start(t, nil, "odd", how)
			if how == "ring" && line == "none" {
				t.Skip("needs io_uring")
			}
			number, err := strconv.ParseUint(line, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			if how == "ended" {
				for state := byte(0); state != 'Z'; {
					now, ok := proc.Process(p.Process.Pid)
					if !ok {
						t.Fatal("the process has ended")
					}
					state = now.State
				}
			}
			inode := uint32(number)
			find := func(worth bool) []Descriptor {
				o := proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{inode: worth}, []int{p.Process.Pid})
				if len(o.rings) > 0 && worth && how == "ring" {
					t.Errorf("left %v", o.rings)
				}
				return o.Found[inode]
			}
			found := find(true)
			if len(found) != 1 || found[0].PID != p.Process.Pid {
				t.Fatalf("found %+v, want one of process %d", found, p.Process.Pid)
			}
			d := found[0]
			if (d.Thread != 0) != (how == "table" || how == "ended") || (d.FD < 0) != (how == "ring") {
				t.Errorf("found %+v", d)
			}
			if how != "plain" && len(find(false)) != 0 {
				t.Error("found though it is not worth it")
			}
			_, _, err = Options(d, inode)
			if (err == nil) != (how != "ring") && err != unix.EINVAL { // Linux 6.8 has no PIDFD_THREAD
				t.Errorf("options: %v", err)
			}
			guard := new(Guard)
			if args := proc.Arguments(t.Context(), guard, d.PID, d.Thread); len(args) != 2 || args[1] != how {
				t.Errorf("arguments %q", args)
			}
			if how == "ended" {
				if args := proc.Arguments(t.Context(), guard, d.PID, 0); args != nil {
					t.Errorf("arguments by its first thread: %q", args)
				}
			}
			if o := (&Owners{Found: map[uint32][]Descriptor{}}); how == "table" {
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				o.lookInThreads(ended, guard, proc, []int{p.Process.Pid}, map[uint32]bool{inode: true})
				if o.Skipped != 1 || len(o.Found) != 0 {
					t.Errorf("with an ended context: %+v", o)
				}
				// Where tables cannot be compared, all threads are looked through.
				o.Skipped = 0
				o.lookInThreads(t.Context(), &Guard{stuck: true}, proc, []int{p.Process.Pid}, map[uint32]bool{inode: true})
				if len(o.Found[inode]) == 0 || o.Skipped != 0 {
					t.Errorf("without a comparison: %+v", o)
				}
			}
			p.Process.Kill()
			p.Wait()
			if found := find(true); len(found) != 0 {
				t.Errorf("after its end: %+v", found)
			}
		})
	}
}

// One thread stands for all that have the same table.
func TestDifferentTables(t *testing.T) {
	p, _ := start(t, nil, "odd", "table")
	pid := p.Process.Pid
	threads := proc.threads(pid)
	different, ok := differentTables(pid, threads)
	if !ok {
		t.Skip("needs kcmp")
	}
	if len(threads) < 2 || len(different) != 1 {
		t.Errorf("of threads %v: %v", threads, different)
	}
	p, _ = start(t, nil, "odd", "plain")
	if different, ok := differentTables(p.Process.Pid, proc.threads(p.Process.Pid)); !ok || len(different) != 0 {
		t.Errorf("of one table: %v, %v", different, ok)
	}
	if different, ok := differentTables(1<<30, []int{1<<30 + 1}); !ok || len(different) != 1 {
		t.Errorf("of threads that are not there: %v, %v", different, ok)
	}
}
