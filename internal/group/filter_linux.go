package group

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// passAll is what a filter returns for a packet that it leaves whole.
const passAll = 1 << 31

// attachFilter gives the socket a filter, unless it has one.
func (s *Socket) attachFilter(filter []unix.SockFilter) error {
	return control(s, func(fd int) error {
		switch n, err := filterLength(fd); {
		case err != nil:
			return err
		case n > 0:
			return errors.New("the socket has a filter")
		}
		program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program); err != nil {
			return unsupported("setsockopt SO_ATTACH_FILTER", err)
		}
		if n, err := filterLength(fd); err != nil || n != len(filter) {
			return fmt.Errorf("SO_ATTACH_FILTER is without effect (%v): %w", err, errors.ErrUnsupported)
		}
		return nil
	})
}

// detachFilter undoes attachFilter.
func (s *Socket) detachFilter() error {
	return control(s, func(fd int) error {
		return unsupported("setsockopt SO_DETACH_FILTER",
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
	})
}

// filterLength returns the number of instructions of a socket's filter.
func filterLength(fd int) (int, error) {
	var length uint32 // in: no room for the instructions; out: their number (sk_get_filter)
	const getFilter = unix.SO_ATTACH_FILTER
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, getFilter, 0, uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return 0, unsupported("getsockopt SO_GET_FILTER", errno)
	}
	return int(length), nil
}
