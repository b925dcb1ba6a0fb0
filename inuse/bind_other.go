//go:build js || plan9 || wasip1

package inuse

import "errors"

// bindPlain says that a bind without listening cannot be had there.
func (attempt) bindPlain() error { return errors.ErrUnsupported }
