package procfs

import (
	"context"
	"time"
)

// A Guard makes calls that another process can hold up for ever: to read its
// arguments or environment takes a lock of its memory, or that memory itself, which a
// process that hangs in a page fault does not give. The zero Guard is ready for use.
//
// After the first call that is held up it makes none. That one goes on, in a goroutine
// that ends when the process does: at most one for each Guard.
type Guard struct {
	stuck bool
}

// patience is how long a call may take, unless the context ends earlier. It takes some
// microseconds if nothing holds it up.
const patience = time.Second

// Do makes a call. If it reports false, the call is not made or has not ended, and
// nothing that it writes is to be used. It takes half of the time that ctx leaves at
// most, so that a look has time for the rest.
func (g *Guard) Do(ctx context.Context, call func()) bool {
	if g.stuck || ctx.Err() != nil {
		return false
	}
	most := patience
	if end, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(end)/2)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	g.stuck = true
	return false
}
