//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"example.com/reuse"
	"golang.org/x/sys/unix"
)

// refused returns the error of a net.Listen that was refused with errno.
func (t target) refused(errno error) error {
	return &net.OpError{Op: "listen", Net: t.network, Addr: t.addr, Err: os.NewSyscallError("bind", errno)}
}

// lookAtPath is look for unix sockets.
func (t target) lookAtPath(ctx context.Context) (result, error) {
	r, ok := explained(ctx, t.refused(syscall.EADDRINUSE))
	if !ok {
		if _, err := os.Lstat(t.address); err != nil {
			r = unexplained(err)
		}
		return r, nil
	}
	if r.free() && t.address[0] != '@' {
		// Nothing is there, and nothing may come there.
		dir := filepath.Dir(t.address)
		const writeAndSearch = 2 | 1
		if err := unix.Access(dir, writeAndSearch); err != nil {
			r = unexplained(&os.PathError{Op: "access", Path: dir, Err: err})
		}
	}
	return r, nil
}

// explained returns the explanation of err, a failed bind. If there is none, ok
// is false, and err itself is the reason.
func explained(ctx context.Context, err error) (r result, ok bool) {
	e, ok := errors.AsType[*reuse.InUseError](reuse.ExplainContext(ctx, err))
	if !ok {
		return unexplained(err), false
	}
	if e.Cause == reuse.CauseFree {
		e.Advice = ""
	}
	// Of an explanation without holders and advice the cause is left.
	reason := (&reuse.InUseError{Cause: e.Cause}).Explanation()
	return result{e, strings.TrimSuffix(reason, "; ")}, true
}

// unexplained is the result where all that is known is an error.
func unexplained(err error) result {
	reason := err
	if op, ok := errors.AsType[*net.OpError](err); ok {
		reason = op.Err // without the address, which is said anyway
	}
	return result{&reuse.InUseError{Err: err, Cause: reuse.CauseUnknown}, reason.Error()}
}
