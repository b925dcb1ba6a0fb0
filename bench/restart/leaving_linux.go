package main

import (
	"errors"
	"time"

	"example.com/reuse/handover"
)

// A leaving is what a server says of its leave.
type leaving struct {
	Took    time.Duration
	Error   string // "" is nil
	Counted counts
}

// counts are those of a handover.ShutdownError.
type counts struct{ Crossed, Partial, Untold, Cut, Hijacked, Unserved int }

// exact is how much a server says was lost, but for clients that may lose something.
func (c counts) exact() int { return c.Crossed + c.Partial + c.Cut + c.Hijacked + c.Unserved }

// A stoppedError is that of a server that has stopped all the same.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string { return e.err.Error() }
func (e *stoppedError) Unwrap() error { return e.err }

// left reports whether a server that returned err has left, and what it said.
func left(err error, took time.Duration) (leaving, bool) {
	l := leaving{Took: took}
	if err == nil {
		return l, true
	}
	l.Error = err.Error()
	if e := (*handover.ShutdownError)(nil); errors.As(err, &e) {
		l.Counted = counts{e.Crossed, e.Partial, e.Untold, e.Cut, e.Hijacked, e.Unserved}
		return l, true
	}
	var stopped *stoppedError
	return l, errors.As(err, &stopped)
}

// A restart is a leave and what the clients of that server lost.
type restart struct {
	leaving
	Lost map[loss]int
}

// lost is how much was lost, and how much more of what nil says nothing of.
func (r restart) lost() (n, excepted int) {
	for kind, lost := range r.Lost {
		if kind.excepted() {
			excepted += lost
		} else {
			n += lost
		}
	}
	return n, excepted
}

// falseNil reports whether the server said that nothing was lost, and something was.
func (r restart) falseNil() bool {
	n, _ := r.lost()
	return r.Error == "" && n > 0
}

// off is by how much more was lost than counted, or less. A client that was not told
// may have lost one request.
func (r restart) off() int {
	n, _ := r.lost()
	least := r.Counted.exact()
	return n - min(max(n, least), least+r.Counted.Untold)
}
