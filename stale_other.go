//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package reuse

import "context"

// removeStale leaves unix sockets to package net: without flock it could not
// keep two starters apart.
func (m Mode) removeStale(network, address string, cause error) error { return cause }

// explainPath explains nothing: a file alone does not tell whether it is stale.
func (a attempt) explainPath(context.Context) *InUseError { return nil }
