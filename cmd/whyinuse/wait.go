package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"example.com/reuse/inuse"
)

// A result is what a look at a target found.
type result struct {
	target target
	e      *inuse.Error
	err    error // the call is wrong; e is nil
}

// lookTime bounds one look.
const lookTime = 10 * time.Second

// look finds out why the target cannot be bound, or that it can.
func (t target) look(ctx context.Context) result {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	e, err := inuse.Check(ctx, t.network, t.address)
	return result{t, e, err}
}

// A waiter waits until addresses are free.
type waiter struct {
	look     func(context.Context, target) result
	pause    func(ctx context.Context, pids []int, d time.Duration)
	now      func() time.Time
	limit    time.Duration
	tick     time.Duration
	progress io.Writer
}

func newWaiter(limit time.Duration, progress io.Writer) waiter {
	return waiter{
		look:  func(ctx context.Context, t target) result { return t.look(ctx) },
		pause: pause, // pause_linux.go, pause_other.go
		now:   time.Now,
		limit: limit, tick: time.Second, progress: progress,
	}
}

// wait looks at the targets until all are free or cannot become it by themselves, ctx
// ends, or the limit is over. It returns what it saw last. Each change in who has an
// address is a line to w.progress.
//
// It looks again when a process that has an address ends, or when the last connection
// in TIME_WAIT is due. Nothing tells when a process closes a socket and stays, so it
// looks again after every tick, too.
func (w waiter) wait(ctx context.Context, targets []target) []result {
	deadline := w.now().Add(w.limit)
	results := make([]result, len(targets))
	shown := make([]string, len(targets))
	for {
		waits := false
		var pids []int
		var until time.Duration // the next look
		for i, t := range targets {
			// An interrupt ends the waiting, not the look.
			r := w.look(context.WithoutCancel(ctx), t)
			results[i] = r
			if !r.waits() {
				if r.err == nil && r.e.Cause != inuse.CauseFree && shown[i] != never {
					shown[i] = never
					w.line("Not waiting%s: this does not end by itself.", map[bool]string{true: " for " + t.String()}[len(targets) > 1])
				}
				continue
			}
			waits = true
			who := whoHas(r.e)
			switch {
			case shown[i] == "" || shown[i] == never:
				w.line("Waiting %v at most for %v: %s.", people(w.limit), t, who)
			case shown[i] != who:
				w.line("%s", changed(r))
			}
			shown[i] = who
			pids = append(pids, pidsOf(r.e.Holders)...)
			next, known := due(r.e.Holders)
			if !known {
				next = w.tick
			}
			if until == 0 || next < until {
				until = max(next, shortest)
			}
		}
		if !waits {
			return results
		}
		left := deadline.Sub(w.now())
		if ctx.Err() == nil && left > 0 {
			w.pause(ctx, pids, min(left, until))
		}
		switch {
		case ctx.Err() != nil:
			w.still(results, "; waiting was interrupted")
			return results
		case left <= 0:
			w.still(results, " after "+people(w.limit))
			return results
		}
	}
}

// never stands for who has an address that is not waited for.
const never = "\x00"

// shortest is the least time between two looks at connections that are due: the
// kernel's timer for them may be late.
const shortest = 20 * time.Millisecond

func (w waiter) line(format string, args ...any) { fmt.Fprintf(w.progress, format+"\n", args...) }

// still says of each target that is not free that it is not.
func (w waiter) still(results []result, when string) {
	for _, r := range results {
		if !r.waits() {
			continue
		}
		s := capital(r.target.String())
		switch r.e.Cause {
		case inuse.CauseTentative, inuse.CauseNoLink, inuse.CauseExhausted:
			w.line("%s still cannot be used%s.", s, when)
		case inuse.CauseUnknown:
			w.line("%s may still be in use%s.", s, when)
		default:
			w.line("%s is still in use%s.", s, when)
		}
	}
}

// waits reports whether time may make the address free.
func (r result) waits() bool {
	if r.err != nil {
		return false
	}
	switch r.e.Cause {
	case inuse.CauseFree, inuse.CausePrivileged, inuse.CauseForbidden, inuse.CauseNotLocal, inuse.CauseDuplicate, inuse.CauseNoZone,
		inuse.CauseWrongZone, inuse.CauseIPv6Off, inuse.CauseStale, inuse.CauseNotSocket, inuse.CausePathTooLong,
		inuse.CauseNoDirectory, inuse.CauseDirectoryDenied, inuse.CauseFileSystem:
		return false
	}
	return true
}

// whoHas says what is in the way: of holders neither the seconds left nor the number
// of connections, which change all the time.
func whoHas(e *inuse.Error) string {
	switch e.Cause {
	case inuse.CauseTentative:
		return "its address is being checked"
	case inuse.CauseNoLink:
		return "its interface has no link"
	case inuse.CauseExhausted:
		return "all ports are taken"
	case inuse.CauseUnknown:
		return "it is not known whether it is free"
	case inuse.CauseStalePerhaps:
		return "nobody is seen to have it"
	}
	has := " has it"
	if len(names(e.Holders)) > 1 || e.Cause == inuse.CauseLeftover {
		has = " have it"
	}
	return by(e) + has
}

// changed says what is in the way by now.
func changed(r result) string {
	s := capital(r.target.String())
	switch r.e.Cause {
	case inuse.CauseTentative, inuse.CauseNoLink, inuse.CauseExhausted, inuse.CauseUnknown, inuse.CauseStalePerhaps:
		return s + ": now " + whoHas(r.e) + "."
	case inuse.CauseLeftover, inuse.CauseConnection:
		return s + " is now held by " + by(r.e) + "."
	}
	return s + " is now in use by " + by(r.e) + "."
}

// by names the holders.
func by(e *inuse.Error) string {
	if e.Cause == inuse.CauseLeftover {
		if slices.ContainsFunc(e.Remedies, func(r inuse.Remedy) bool { return r.Kind == "reserve" }) {
			return "closed outgoing connections"
		}
		return "closed connections of a server that has ended"
	}
	all := names(e.Holders)
	switch n := len(all); n {
	case 0:
		return "something"
	case 1:
		return all[0]
	case 2:
		return all[0] + " and " + all[1]
	default:
		return fmt.Sprintf("%s and %d others", all[0], n-1)
	}
}

// names returns who has the holders, each once.
func names(holders []inuse.Holder) (all []string) {
	add := func(name string) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	for _, h := range holders {
		for _, p := range h.Processes {
			add(fmt.Sprintf("%s (pid %d)", p.Name, p.PID))
		}
		switch {
		case len(h.Processes) > 0:
		case h.Unit != "":
			add(h.Unit)
		case h.User != "" && h.Name != "":
			add(h.Name + " of user " + h.User)
		case h.Name != "":
			add(h.Name)
		}
	}
	return all
}

// capital returns a port with a capital letter, for the beginning of a sentence. A
// path stays as it is.
func capital(s string) string {
	if rest, ok := strings.CutPrefix(s, "port "); ok {
		return "Port " + rest
	}
	return s
}

// people returns d as people write it.
func people(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d > time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%g s", d.Round(100*time.Millisecond).Seconds())
	}
	return fmt.Sprintf("%g ms", float64(d.Round(time.Microsecond))/float64(time.Millisecond))
}

// due returns when the last of holders is gone by itself. It is known only if all are
// in TIME_WAIT: nothing but time ends that, while in FIN_WAIT2 the peer may end it
// sooner.
func due(holders []inuse.Holder) (d time.Duration, known bool) {
	for _, h := range holders {
		if h.State != "TIME_WAIT" || h.Expires <= 0 {
			return 0, false
		}
		d = max(d, h.Expires)
	}
	return d, len(holders) > 0
}

// pidsOf returns the processes that have what is in the way.
func pidsOf(holders []inuse.Holder) (pids []int) {
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
