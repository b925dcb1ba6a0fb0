//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris

package reuse

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

func setAddr(c syscall.RawConn, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", value)
}

func setPort(c syscall.RawConn) error {
	return setOption(c, portOption, portName, 1)
}

func hasAddr(c syscall.RawConn) (bool, error) {
	var value int
	var failed error
	err := c.Control(func(fd uintptr) {
		value, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR)
	})
	if err == nil {
		err = os.NewSyscallError("getsockopt SO_REUSEADDR", failed)
	}
	return value != 0, err
}

func setOption(c syscall.RawConn, option int, name string, value int) error {
	s := setters.Get().(*setter)
	defer setters.Put(s)
	s.option, s.value, s.err = option, value, nil
	if err := c.Control(s.set); err != nil {
		return err
	}
	if s.err == nil {
		return nil
	}
	err := os.NewSyscallError("setsockopt "+name, s.err)
	if errors.Is(err, unix.ENOPROTOOPT) {
		// A kernel without the option. syscall.Errno.Is does not count
		// this one among the unsupported.
		err = fmt.Errorf("%w (%w)", err, errors.ErrUnsupported)
	}
	return err
}

// A setter is a callback for RawConn.Control with the variables it shares with
// its caller. All of them escape; the pool spares every Listen the allocations.
type setter struct {
	option, value int
	err           error
	set           func(fd uintptr)
}

var setters = sync.Pool{New: func() any {
	s := new(setter)
	s.set = func(fd uintptr) {
		s.err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, s.option, s.value)
	}
	return s
}}

func inUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) }
