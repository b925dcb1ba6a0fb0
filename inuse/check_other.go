//go:build !linux

package inuse

import "context"

// checked looks at a as if a bind of it had failed.
func (a attempt) checked(ctx context.Context) *finding { return a.find(ctx) }
