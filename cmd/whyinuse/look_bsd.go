//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"context"
	"net"
)

// look knows the paths of unix sockets.
func (t target) look(ctx context.Context) (result, error) {
	if _, ok := t.addr.(*net.UnixAddr); ok {
		return t.lookAtPath(ctx)
	}
	return result{}, errCannotTell
}
