//go:build !linux

package main

import (
	"context"
	"time"
)

// pause returns after d, or when ctx ends.
func pause(ctx context.Context, _ []int, d time.Duration) { sleep(ctx, d) }
