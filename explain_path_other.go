//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package reuse

import "context"

// explainPath explains nothing: a file alone does not tell whether it is stale.
func (a attempt) explainPath(context.Context) *InUseError { return nil }
