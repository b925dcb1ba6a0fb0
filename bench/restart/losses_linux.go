package main

import (
	"maps"
	"sync"
)

// A loss is a kind of what a client can lose.
type loss string

const (
	lostConnect loss = "connection" // there was none
	lostFirst   loss = "first request"
	lostRequest loss = "request"
	lostHead    loss = "part of a request"
	lostAnswer  loss = "rest of an answer"
	lostSocket  loss = "WebSocket" // without a close frame

	// These a server can't help, and does not count.
	lostPipelined loss = "pipelined request" // behind an answer that said close
	lostUnsent    loss = "request that the client did not send"
	lostRefused   loss = "connection while no server was there"
)

// excepted reports whether nil does not mean that there was no such loss.
func (k loss) excepted() bool { return k == lostPipelined || k == lostUnsent || k == lostRefused }

// A lostError is what became of a request.
type lostError struct {
	kind loss
	pid  int // of the server that had the connection; 0: unknown
	err  error
}

func (e *lostError) Error() string { return string(e.kind) + ": " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// A ledger has the losses of each server.
type ledger struct {
	mu      sync.Mutex
	leaving int // the server that is said to have lost what nobody else has
	of      map[int]map[loss]int
}

func newLedger() *ledger { return &ledger{of: map[int]map[loss]int{}} }

// leave says that a server begins to leave.
func (l *ledger) leave(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = pid
}

func (l *ledger) add(kind loss, pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pid == 0 {
		pid = l.leaving
	}
	if l.of[pid] == nil {
		l.of[pid] = map[loss]int{}
	}
	l.of[pid][kind]++
}

// take removes what a server has lost.
func (l *ledger) take(pid int) map[loss]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.of, pid)
	return maps.Clone(l.of[pid])
}

// rest is what servers have lost that were not taken.
func (l *ledger) rest() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, losses := range l.of {
		for kind, lost := range losses {
			if !kind.excepted() {
				n += lost
			}
		}
	}
	return n
}
