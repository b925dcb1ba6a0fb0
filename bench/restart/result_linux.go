package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// slow is what a connection takes only if a SYN was lost: the kernel sends it
// again after a second.
const slow = 900 * time.Millisecond

// A tally counts outcomes.
type tally struct {
	OK      int
	Delayed int // of those that are OK: took longer than slow
	Reset   int
	Refused int
	EOF     int
	Timeout int
	Other   int
}

func (t tally) lost() int  { return t.Reset + t.Refused + t.EOF + t.Timeout + t.Other }
func (t tally) total() int { return t.OK + t.lost() }

func (t *tally) add(u tally) {
	t.OK += u.OK
	t.Delayed += u.Delayed
	t.Reset += u.Reset
	t.Refused += u.Refused
	t.EOF += u.EOF
	t.Timeout += u.Timeout
	t.Other += u.Other
}

// A counter is a tally of many goroutines.
type counter struct {
	mu      sync.Mutex
	change  sync.Cond
	tally   tally
	errors  []string // the first few
	longest time.Duration
}

func newCounter() *counter {
	c := new(counter)
	c.change.L = &c.mu
	return c
}

// count adds an outcome.
func (c *counter) count(err error, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.change.Broadcast()
	var timeout net.Error
	switch {
	case err == nil:
		c.tally.OK++
		if took > slow {
			c.tally.Delayed++
		}
		c.longest = max(c.longest, took)
		return
	case errors.Is(err, syscall.ECONNREFUSED):
		c.tally.Refused++
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		c.tally.Reset++
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		c.tally.EOF++
	case errors.As(err, &timeout) && timeout.Timeout():
		c.tally.Timeout++
	default:
		c.tally.Other++
	}
	c.note(err)
}

// except notes an outcome that is not counted.
func (c *counter) except(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(err)
}

// note keeps the text of an error, if it is one of the first few. The caller has mu.
func (c *counter) note(err error) {
	// Without the addresses, of which each connection has its own.
	text := err.Error()
	var op *net.OpError
	if errors.As(err, &op) {
		text = op.Op + ": " + op.Err.Error()
	}
	if len(c.errors) < 3 && !slices.Contains(c.errors, text) {
		c.errors = append(c.errors, text)
	}
}

// more returns when there are n more outcomes, or after limit.
func (c *counter) more(n int, limit time.Duration) {
	deadline := time.Now().Add(limit)
	wake := time.AfterFunc(limit, c.change.Broadcast)
	defer wake.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for want := c.tally.total() + n; c.tally.total() < want && time.Now().Before(deadline); {
		c.change.Wait()
	}
}

// A result is what a cell measured.
type result struct {
	Scenario string
	Strategy string
	Restarts int
	Tally    tally
	Refusals int             // a drain that said no; it was tried again
	Undone   int             // restarts given up: the old process went on
	Drains   []time.Duration // from the signal until closing lost nothing
	Leaves   []restart
	Stray    int // lost by servers that had not begun to leave
	Longest  time.Duration
	Seconds  float64
	Errors   []string
}

// drain returns the median time of a drain.
func (r result) drain() time.Duration { return median(r.Drains) }

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func (r result) String() string {
	s := fmt.Sprintf("%s, %s: %d restarts, %d ok, %d delayed, %d lost", r.Scenario, r.Strategy, r.Restarts, r.Tally.OK, r.Tally.Delayed, r.Tally.lost())
	if n := r.Tally.lost(); n > 0 {
		s += fmt.Sprintf(" (%d reset, %d refused, %d eof, %d timeout, %d other)", r.Tally.Reset, r.Tally.Refused, r.Tally.EOF, r.Tally.Timeout, r.Tally.Other)
	}
	if r.Refusals+r.Undone > 0 {
		s += fmt.Sprintf(", %d refusals, %d undone", r.Refusals, r.Undone)
	}
	if len(r.Drains) > 0 {
		s += fmt.Sprintf(", drain %v", r.drain().Round(time.Millisecond))
	}
	for _, err := range r.Errors {
		s += "; " + err
	}
	return s
}
