//go:build aix || darwin || dragonfly || freebsd || netbsd || openbsd || solaris

package inuse

import (
	"context"
	"time"
)

// pathHolders finds nobody: these systems do not tell who has a path.
func (a attempt) pathHolders(context.Context, string) pathHolders { return pathHolders{} }

func created(string) time.Time { return time.Time{} }

// forbidden explains nothing.
func (a attempt) forbidden(asker) *finding { return nil }
