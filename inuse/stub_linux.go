package inuse

import (
	"context"
	"os"
)

// These stand in for look_linux.go and asker_linux.go, until those are there.

func (a attempt) find(ctx context.Context) *finding { return nil }

func newAsker() asker {
	return asker{uid: os.Geteuid(), name: username(uint32(os.Geteuid())), root: os.Geteuid() == 0}
}
