//go:build !linux

package keepalive

import "errors"

// The BSDs, Solaris and Windows inherit some of the options or none, and it was
// not run there.
func Inherited() bool { return false }

func set(uintptr) error { return errors.ErrUnsupported }
