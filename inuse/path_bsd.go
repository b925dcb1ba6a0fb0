//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package inuse

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// pathHolders asks the tools of the system who has a path.
func (a attempt) pathHolders(ctx context.Context, path string) pathHolders {
	me := newAsker()
	holders, whole, err := a.pathHoldersOn(ctx, path, runtime.GOOS, me)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil // nobody can be asked
	}
	return pathHolders{holders: holders, err: err, sight: sight{others: !whole && !me.root}}
}

func created(string) time.Time { return time.Time{} }

// forbidden explains nothing.
func (a attempt) forbidden(asker) *finding { return nil }
