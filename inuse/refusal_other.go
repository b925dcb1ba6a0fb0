//go:build !(aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris || windows)

package inuse

import "errors"

var errInUse = errors.New("address in use")

func refusalOf(error) refusal { return 0 }
