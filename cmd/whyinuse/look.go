package main

import (
	"context"
	"time"

	"example.com/reuse/inuse"
)

// lookTime bounds one look, as inuse.Explain's own bound does.
const lookTime = time.Second

// look finds out why t cannot be bound, or that it can. It returns an error
// where the system does not tell.
func (t target) look(ctx context.Context) (*inuse.Error, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return inuse.Check(ctx, t.network, t.addr.String())
}

// free reports whether the address of e can be bound.
func free(e *inuse.Error) bool { return e.Cause == inuse.CauseFree }
