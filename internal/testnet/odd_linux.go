package testnet

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OddEnv is a variable of the environment, for Odd.
const OddEnv = "TESTNET_ODD"

// Odd is a program for Main that listens at an address with a socket that is not in the
// descriptor table of its first thread: args[0] says why. Of "plain" it is; of "table" a
// thread has a table of its own; of "ended" the first thread has ended; of "ring" the
// socket is a fixed file of an io_uring only. It prints the socket's inode, or "none" if
// the kernel has no io_uring, and ends at the end of its input. If OddEnv is set, its
// words stand for args, which may be anything then.
func Odd(args []string) error {
	runtime.LockOSThread()
	if words, ok := os.LookupEnv(OddEnv); ok {
		args = strings.Fields(words)
	}
	answer := make(chan error)
	go func() {
		runtime.LockOSThread()
		inode, err := hide(args[0], netip.MustParseAddrPort(args[1]))
		switch {
		case errors.Is(err, errNoRing):
			fmt.Println("none")
			err = nil
		case err == nil:
			fmt.Println(inode)
		}
		answer <- err
		select {} // this thread has it
	}()
	if err := <-answer; err != nil {
		return err
	}
	if args[0] != "ended" {
		awaitEnd()
		return nil
	}
	go func() {
		awaitEnd()
		os.Exit(0)
	}()
	if unix.Gettid() != os.Getpid() {
		return errors.New("the main goroutine has left the first thread")
	}
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // ends this thread
	return errors.New("exit returned")
}

func awaitEnd() { bufio.NewReader(os.Stdin).ReadString('\n') }

// hide opens a listener for the calling thread.
func hide(how string, addr netip.AddrPort) (inode uint64, err error) {
	if how == "table" {
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			return 0, err
		}
	}
	fd, err := Bind(unix.SOCK_STREAM, addr, false, ReuseAddr)
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
		return stat.Ino, fix(fd)
	}
	return stat.Ino, nil
}

var errNoRing = errors.New("no io_uring")

// fix makes a socket a fixed file of a new io_uring, and closes its descriptor.
func fix(fd int) error {
	var parameters [120]byte // struct io_uring_params
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&parameters)), 0)
	if errno == unix.ENOSYS || errno == unix.EPERM {
		return errNoRing
	}
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
