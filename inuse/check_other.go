//go:build !linux

package inuse

import "context"

// check looks at a as if a bind of it had failed.
func (a attempt) check(ctx context.Context) *finding { return a.find(ctx) }
