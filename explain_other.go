//go:build !linux

package reuse

import "context"

// explain returns the explanation of a, or nil if there is none.
func (a attempt) explain(ctx context.Context) *InUseError {
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

// pathHolders returns nothing: who has a socket is not asked here.
func (a attempt) pathHolders(context.Context) ([]Holder, []string) {
	return nil, []string{"processes: only looked for on Linux"}
}

// listed is false: there is no list to ask.
func listed(context.Context, string) bool { return false }
