//go:build !linux

package main

import (
	"errors"
	"fmt"
	"runtime"
)

// errCannotTell is the error of networks of which Explain knows nothing here.
var errCannotTell = fmt.Errorf("cannot tell on %s: %w", runtime.GOOS, errors.ErrUnsupported)
