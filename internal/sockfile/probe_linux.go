package sockfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// refuses returns nil if the file at path, which has refused a datagram socket,
// refuses a stream socket too. On Linux both mean the same.
//
// gVisor refuses a datagram socket also if the owner is a live stream socket.
// The stream socket of this probe is connected already, so that it cannot become a
// client of such an owner; gVisor answers EISCONN or EPROTOTYPE then, for an
// owner that is closed as well (transport.connectionedEndpoint.BidirectionalConnect).
// It refuses if the owner was a datagram socket, or lived in a former sandbox.
func refuses(path string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	err = unix.Connect(pair[0], &unix.SockaddrUnix{Name: path})
	if err == unix.ECONNREFUSED {
		return nil
	}
	err = os.NewSyscallError("connect", err)
	if errors.Is(err, unix.EISCONN) || errors.Is(err, unix.EPROTOTYPE) {
		return fmt.Errorf("the system does not tell live sockets from stale ones (%w); remove the file by hand if its server is gone: %w",
			err, errors.ErrUnsupported)
	}
	return err
}
