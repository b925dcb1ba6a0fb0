package sockfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
)

type State uint8

const (
	Unknown State = iota
	Stale
	Live
	NotSocket
	Gone
)

func IsFile(address string) bool {
	return !strings.Contains(address, "\x00") && (runtime.GOOS != "linux" || !strings.HasPrefix(address, "@"))
}

func Probe(path string) (State, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Gone, nil
	}
	if err != nil {
		return Unknown, err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return NotSocket, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	switch {
	case err == nil:
		conn.Close()
		return Live, nil
	case errors.Is(err, syscall.EPROTOTYPE), errors.Is(err, syscall.EPERM):
		return Live, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return Stale, nil
	}
	return Unknown, err
}
