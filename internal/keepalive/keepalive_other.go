//go:build !linux

package keepalive

import "errors"

// Inherited is false: the BSDs, Solaris and Windows inherit some of the options
// or none, and it was not run there.
func Inherited() bool { return false }

// GVisor is false: gVisor's interface is Linux's.
func GVisor() bool { return false }

func set(uintptr) error { return errors.ErrUnsupported }
