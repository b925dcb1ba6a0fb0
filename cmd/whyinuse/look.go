package main

import (
	"context"
	"time"

	"example.com/reuse"
)

// lookTime bounds one look, as Explain's own bound does.
const lookTime = time.Second

// A result is what was found out about a target.
type result struct {
	*reuse.InUseError
	reason string // why it cannot be bound, in words
}

func (r result) free() bool { return r.Cause == reuse.CauseFree }

// look finds out why t cannot be bound, or that it can. It returns an error
// where the system does not tell.
func look(ctx context.Context, t target) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return t.look(ctx)
}
