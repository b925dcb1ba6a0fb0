package group

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"

	"example.com/reuse/internal/sockdiag"
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

// Attach makes a program that of the group that c is in, in place of another.
func Attach(c syscall.RawConn, program []Instruction) error {
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return control(c, func(fd int) error {
		err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, fprog)
		runtime.KeepAlive(filter)
		return unsupported("setsockopt SO_ATTACH_REUSEPORT_CBPF", err)
	})
}

// leavesChoice returns a program that chooses none that there is: so the kernel
// goes by its hash.
func leavesChoice() []Instruction { return Only(math.MaxInt32) }

// Detach leaves the group without a program, whether it had one or not. Where the
// kernel or a sandbox refuses that, it leaves one that does nothing.
func Detach(c syscall.RawConn) error {
	err := control(c, func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
		if err == unix.ENOENT {
			return nil
		}
		return unsupported("setsockopt SO_DETACH_REUSEPORT_BPF", err)
	})
	if err != nil && Attach(c, leavesChoice()) == nil {
		return nil
	}
	return err
}

// Attaches returns an error if the kernel takes programs for a group and forgets
// them: it has none to remove then, or any number. The caller has the claim, and
// the group no program afterwards.
func Attaches(c syscall.RawConn) error {
	if err := Attach(c, leavesChoice()); err != nil {
		return err
	}
	return control(c, func(fd int) error {
		for _, want := range []error{nil, unix.ENOENT} {
			err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
			if err != want {
				return fmt.Errorf("SO_ATTACH_REUSEPORT_CBPF is without effect (removal: %v): %w", err, errors.ErrUnsupported)
			}
		}
		return nil
	})
}

// Missing adds errors.ErrUnsupported to an error that says that sock_diag is not
// to be had.
func Missing(err error) error {
	if sockdiag.Missing(err) && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("needs sock_diag (inet_diag, tcp_diag, udp_diag): %w (%w)", err, errors.ErrUnsupported)
	}
	return err
}

// unsupported names the call in err, and adds errors.ErrUnsupported to what
// syscall.Errno.Is does not count among it.
func unsupported(call string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := os.NewSyscallError(call, err)
	if err == unix.ENOPROTOOPT || err == unix.EPROTONOSUPPORT {
		return fmt.Errorf("%w (%w)", wrapped, errors.ErrUnsupported)
	}
	return wrapped
}
