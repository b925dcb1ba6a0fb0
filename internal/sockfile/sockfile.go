// Package sockfile finds out whether a socket is bound to the file of a unix
// socket, and removes the file if none is.
//
// It works on macOS, the BSDs and Linux.
package sockfile

import (
	"fmt"
	"runtime"
	"strings"
)

// A State says what is at a path.
type State uint8

const (
	Unknown   State = iota // Probe cannot tell
	Stale                  // the file of a socket that is closed
	Live                   // the file of a socket that is open, listening or not
	NotSocket              // another kind of file; also a symbolic link to a socket file
	Gone                   // nothing
)

func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Stale:
		return "stale"
	case Live:
		return "live"
	case NotSocket:
		return "not a socket"
	case Gone:
		return "gone"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Supported reports whether this is one of the systems on which Probe and Remove
// work.
const Supported = supported

// IsFile reports whether a unix socket's address is the name of a file. Abstract
// addresses of Linux are not: they begin with a NUL, for which package net
// accepts @.
func IsFile(address string) bool {
	return !strings.Contains(address, "\x00") && (runtime.GOOS != "linux" || !strings.HasPrefix(address, "@"))
}

// Probe returns the state of path. The owner of the socket does not notice it.
// If the state is Unknown, the error says why; otherwise it is nil.
//
// The error wraps errors.ErrUnsupported where the kernel has no answer: on a
// file system that other hosts have too, since it knows its own sockets only;
// in gVisor, for a socket that is not a datagram socket; and on systems
// other than macOS, the BSDs and Linux.
func Probe(path string) (State, error) { return probe(path) }

// Remove removes the file at path if it is Stale, and returns the state of path
// after that. Gone means that path can be bound, Live that another process
// has bound it or is about to.
//
// If the state is Unknown or Stale, the error says why the file could not be
// removed; otherwise it is nil.
func Remove(path string) (State, error) { return remove(path) }
