//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris

package reuse

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func setAddr(c syscall.RawConn) error {
	return setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 1)
}

func setPort(c syscall.RawConn) error {
	return setOption(c, portOption, portName, 1)
}

// setOption sets an option to 0 or 1. Its error wraps errors.ErrUnsupported where
// the kernel does not know the option, or takes it and does nothing.
func setOption(c syscall.RawConn, option int, name string, value int) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = setAndReadBack(int(fd), option, name, value)
	})
	if err != nil {
		return err
	}
	return failed
}

func setAndReadBack(fd, option int, name string, value int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, value); err != nil {
		return optionError("setsockopt "+name, err)
	}
	// The BSDs and gVisor return another number than 1.
	got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
	if err != nil {
		return optionError("getsockopt "+name, err)
	}
	if (got != 0) != (value != 0) {
		return fmt.Errorf("setsockopt %s: the kernel ignores it: %w", name, errors.ErrUnsupported)
	}
	return nil
}

// optionError also wraps errors.ErrUnsupported if errno is that of an option
// which the kernel lacks: syscall.Errno.Is does not count it among those.
func optionError(call string, errno error) error {
	err := os.NewSyscallError(call, errno)
	if errors.Is(errno, unix.ENOPROTOOPT) {
		err = fmt.Errorf("%w (%w)", err, errors.ErrUnsupported)
	}
	return err
}

func inUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) }
