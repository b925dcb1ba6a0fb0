package group

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// control calls f with the descriptor, and returns the error of either.
func control(c syscall.RawConn, f func(fd int) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

func getsockopt(fd, level, option int, name string) (int, error) {
	value, err := unix.GetsockoptInt(fd, level, option)
	return value, unsupported("getsockopt "+name, err)
}

func setsockopt(fd, level, option, value int, name string) error {
	return unsupported("setsockopt "+name, unix.SetsockoptInt(fd, level, option, value))
}

// unsupported names the call in err, and adds errors.ErrUnsupported to what
// syscall.Errno.Is does not count among it. ENOMSG is Nanos's word.
func unsupported(call string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := os.NewSyscallError(call, err)
	switch err {
	case unix.ENOPROTOOPT, unix.EPROTONOSUPPORT, unix.ENOMSG:
		return fmt.Errorf("%w (%w)", wrapped, errors.ErrUnsupported)
	}
	return wrapped
}
