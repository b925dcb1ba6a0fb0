//go:build aix || solaris

package inuse

import (
	"context"
	"time"
)

// pathHolders finds nobody: these systems have no tool that is asked.
func (a attempt) pathHolders(context.Context, string) pathHolders { return pathHolders{} }

func created(string) time.Time { return time.Time{} }

// forbidden explains nothing.
func (a attempt) forbidden(asker) *finding { return nil }
