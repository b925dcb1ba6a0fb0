//go:build aix || js || plan9 || solaris || wasip1

package inuse

import (
	"context"
	"errors"
)

// find returns what explains a, or nil if nothing does. These systems have no tool that
// is asked who has a port.
func (a attempt) find(ctx context.Context) *finding {
	switch {
	case a.path != "":
		return a.findPath(ctx, newAsker())
	case a.refusal == refusedInvalid:
		return a.invalid(ctx)
	case a.refusal == refusedNotAvailable && a.call != "connect":
		return a.notAvailable(ctx)
	}
	return nil
}

// checkAddress is find where nothing has failed.
func (a attempt) checkAddress(ctx context.Context) *finding {
	if a.path != "" {
		return a.find(ctx)
	}
	a.check = true
	unknown := a.because(CauseUnknown, facts{"what": "this system does not tell who has a port"})
	if a.network[:3] != "tcp" { // a UDP socket would take datagrams
		return unknown
	}
	err := a.bindPlain()
	if err == nil {
		return a.because(CauseFree, nil)
	}
	if a.refusal = refusalOf(err); a.refusal == 0 || errors.Is(err, errors.ErrUnsupported) {
		return unknown
	}
	if f := a.find(ctx); f != nil {
		return f
	}
	if a.refusal == refusedInUse {
		return a.taken("this system has no tool that is asked")
	}
	return unknown
}

// listening returns nothing: there is no tool that is asked.
func listening(context.Context) ([]Holder, asker, sight, error) {
	return nil, newAsker(), sight{}, errors.ErrUnsupported
}
