package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"example.com/reuse/inuse"
)

// waitFor looks at t until it is free, ctx ends, or limit is over, and returns
// what it saw last. Each change in who has it is a line to progress.
//
// It looks again when a process that has the address ends, or when its last
// connection in TIME_WAIT is due. Nothing tells when a process closes a socket
// and stays, so that it looks again after every tick, too.
func waitFor(ctx context.Context, t target, limit, tick time.Duration, progress io.Writer) (*inuse.Error, error) {
	deadline := time.Now().Add(limit)
	shown := ""
	for {
		// An interrupt ends the waiting, not the look: it takes a second at most.
		e, err := t.look(context.WithoutCancel(ctx))
		if err != nil || free(e) {
			return e, err
		}
		if now := holdersOf(e); now != shown {
			shown = now
			fmt.Fprintf(progress, "waiting: %s%s\n", headline(t, e), now)
		}
		left := time.Until(deadline)
		if ctx.Err() != nil || left <= 0 {
			return e, nil
		}
		until, known := due(e.Holders)
		if !known {
			until = tick
		}
		pause(ctx, pids(e.Holders), min(left, max(until, shortest)))
		if ctx.Err() != nil {
			return e, nil
		}
	}
}

// shortest is the least time between two looks at connections that are due: the
// kernel's timer for them may be late.
const shortest = 20 * time.Millisecond

// holdersOf returns what of e a line of progress is worth: neither seconds left
// nor the number of connections.
func holdersOf(e *inuse.Error) string {
	s := ""
	for _, h := range e.Holders {
		h.Count, h.Expires = 1, 0
		h.Remote = netip.AddrPort{} // of one of many, another each time
		s += "; " + h.String()
	}
	return s
}

// due returns when the last of holders is gone by itself. It is known only if
// all are in TIME_WAIT: nothing but time ends that, while in FIN_WAIT2 the peer
// may end it sooner.
func due(holders []inuse.Holder) (d time.Duration, known bool) {
	for _, h := range holders {
		if h.State != "TIME_WAIT" || h.Expires <= 0 {
			return 0, false
		}
		d = max(d, h.Expires)
	}
	return d, len(holders) > 0
}

// pids returns the processes that have what is in the way.
func pids(holders []inuse.Holder) (pids []int) {
	for _, h := range holders {
		for _, p := range h.Processes {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// sleep returns after d, or when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
