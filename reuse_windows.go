package reuse

import (
	"errors"
	"syscall"
)

// Windows lets a bind pass closing connections by default, and its SO_REUSEADDR
// is another option by the same name: whoever sets it can take a live port
// over. So Addr is supported and sets nothing.
const supported = Addr

func balances(dual bool) bool { return false }

func setAddr(syscall.RawConn) error { return nil }

func setPort(syscall.RawConn) error { return errors.ErrUnsupported }

// inUse is false: there is no other try that makes sense.
func inUse(error) bool { return false }
