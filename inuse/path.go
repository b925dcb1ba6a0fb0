package inuse

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.com/reuse/internal/sockfile"
)

// explainPath explains why a unix socket's path cannot be bound: a file is there,
// or for an abstract address a socket. It returns nil if there is no explanation.
func (a attempt) explainPath(ctx context.Context) *Error {
	if a.refusal != refusedInUse || a.dial || !sockfile.Supported {
		return nil
	}
	var untold []string // what the probe could not find out
	isFile := sockfile.IsFile(a.path)
	if isFile {
		switch state, err := sockfile.Probe(a.path); state {
		case sockfile.Gone:
			return a.because(CauseFree, "try again")
		case sockfile.NotSocket:
			info, err := os.Lstat(a.path)
			if err != nil {
				return nil // it has changed
			}
			return a.because(CauseNotSocket, fmt.Sprintf("choose another path, or move away what is there: %v %s", info.Mode(), a.path))
		case sockfile.Stale:
			return a.because(CauseStale, "open it with reuse.Listen or reuse.ListenPacket, which replace it, or remove "+a.path)
		case sockfile.Unknown:
			if _, err := os.Lstat(a.path); err != nil {
				return nil
			}
			if !errors.Is(err, errors.ErrUnsupported) {
				e := a.because(CauseHidden, "look again as root")
				e.Unseen = []string{err.Error()}
				return e
			}
			untold = []string{err.Error()}
		}
	}
	holders, unseen := a.pathHolders(ctx) // path_linux.go, inuse_other.go
	e := &Error{Err: a.err, Holders: holders, Unseen: append(untold, unseen...)}
	if len(holders) == 0 {
		e.Cause, e.Advice = CauseHidden, "stop its owner, or choose another path"
		if !isFile {
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
