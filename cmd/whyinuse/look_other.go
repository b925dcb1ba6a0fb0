//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

import "context"

// look knows nothing.
func (t target) look(context.Context) (result, error) { return result{}, errCannotTell }
