package reuse

import (
	"errors"
	"syscall"
)

// Windows lets a bind pass closing connections by default, and its SO_REUSEADDR
// is another option by the same name: whoever sets it can take a live port
// over. So Addr is supported and sets nothing.
const (
	supported = Addr
	balances  = false
)

func setAddr(syscall.RawConn, bool) error { return nil }

func setPort(syscall.RawConn) error { return errors.ErrUnsupported }

func hasAddr(syscall.RawConn) (bool, error) { return false, nil }

// inUse decides whether another try with SO_REUSEADDR makes sense.
func inUse(error) bool { return false }
