//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reuse

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/reuse/internal/sockfile"
)

// explainPath explains why a unix socket's path cannot be bound: a file is there,
// or for an abstract address a socket.
func (a attempt) explainPath(ctx context.Context) *InUseError {
	if a.refusal != refusedInUse || a.dial {
		return nil
	}
	var untold []string // what the probe could not find out
	if sockfile.IsFile(a.path) {
		state, err := sockfile.Probe(a.path)
		switch {
		case state == sockfile.Gone:
			return a.because(CauseFree, "try again")
		case state == sockfile.NotSocket:
			info, err := os.Lstat(a.path)
			if err != nil {
				return nil
			}
			return a.because(CauseNotSocket, fmt.Sprintf("choose another path, or move away what is there: %v %s", info.Mode(), a.path))
		case state == sockfile.Stale && !listed(ctx, a.path):
			return a.because(CauseStale, "open it with reuse.Listen or reuse.ListenPacket, which replace it, or remove "+a.path)
		case errors.Is(err, errors.ErrUnsupported):
			untold = []string{err.Error()}
		case state == sockfile.Unknown:
			e := a.because(CauseHidden, "look again as root")
			e.Unseen = []string{err.Error()}
			return e
		}
	}
	holders, unseen := a.pathHolders(ctx)
	e := &InUseError{Err: a.err, Holders: holders, Unseen: append(untold, unseen...)}
	if len(holders) == 0 {
		e.Cause, e.Advice = CauseHidden, "stop its owner, or choose another path"
		if !sockfile.IsFile(a.path) {
			e.Cause, e.Advice = CauseFree, "try again"
		}
		return e
	}
	e.Cause = holders[0].Cause
	e.Advice = "stop " + holders[0].pids() + ", or choose another path"
	if e.Cause == CauseSelf {
		e.Advice = "close it first, or choose another path"
	}
	return e
}
