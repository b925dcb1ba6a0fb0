//go:build !(aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris || windows)

package reuse

import (
	"errors"
	"syscall"
)

// Plan 9, js and wasip1 have no socket options; package net ignores hooks there.
const supported = Mode(0)

func balances(dual bool) bool { return false }

func setAddr(syscall.RawConn) error { return errors.ErrUnsupported }

func setPort(syscall.RawConn) error { return errors.ErrUnsupported }

func inUse(error) bool { return false }
