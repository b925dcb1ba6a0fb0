//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sockfile

import (
	"errors"
	"fmt"
	"runtime"
)

const supported = false

var errSystem = fmt.Errorf("cannot find out on %s whether a socket is bound to a file: %w", runtime.GOOS, errors.ErrUnsupported)

func probe(string) (State, error) { return Unknown, errSystem }

// remove leaves all files where they are: without flock it could not keep two
// starters apart.
func remove(string) (State, error) { return Unknown, errSystem }
