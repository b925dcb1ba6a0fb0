//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sockfile

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const supported = true

func probe(path string) (State, error) {
	state, err := ask(path)
	if state != Stale {
		return state, err
	}
	if err := refuses(path); err != nil {
		// Either the file is another one now, or the answers differ.
		if state, err := ask(path); state != Stale {
			return state, err
		}
		return missing(err)
	}
	switch name, err := sharedBy(path); {
	case err != nil:
		return missing(err)
	case name != "":
		return Unknown, fmt.Errorf("it is on a shared file system (%s) and its server may run on another host; remove the file by hand if that is gone: %w",
			name, errors.ErrUnsupported)
	}
	return Stale, nil
}

// ask connects a datagram socket to path, which the owner of path does not
// notice. An owner of another type answers EPROTOTYPE, whether it listens already
// or is only bound, and a datagram socket that is connected to another one EPERM.
// ECONNREFUSED means that there is no owner (Linux: unix_dgram_connect; BSD:
// unp_connectat).
func ask(path string) (State, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return missing(err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return NotSocket, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	switch {
	case err == nil:
		conn.Close()
		return Live, nil
	case errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.EPERM):
		return Live, nil
	case errors.Is(err, unix.ECONNREFUSED):
		return Stale, nil
	}
	return missing(err)
}

// missing returns Gone if err is that there is no file.
func missing(err error) (State, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return Gone, nil
	}
	return Unknown, err
}
