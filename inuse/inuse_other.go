//go:build !linux

package inuse

import (
	"context"
	"errors"
)

// explain returns the explanation of a, or nil if there is none.
func (a attempt) explain(ctx context.Context) *Error {
	switch {
	case a.path != "":
		return a.explainPath(ctx)
	case a.refusal == refusedInvalid:
		return a.noZone()
	case a.refusal == refusedNotAvailable && a.call != "connect":
		return a.notLocal()
	}
	return nil
}

func (attempt) checkPort(context.Context) (*Error, error) { return nil, errors.ErrUnsupported }

// pathHolders returns nothing: who has a socket is not asked here.
func (attempt) pathHolders(context.Context) ([]Holder, []string) {
	return nil, []string{"processes: only looked for on Linux"}
}
