package handover

import (
	"context"
	"time"
)

// A waiting is what Shutdown sees when it looks at all connections.
type waiting struct {
	s *HTTPServer
	t *schedule
	d *departure

	next      time.Time // when to look again; zero: when something happens
	left      int       // what to wait for before http.Server.Shutdown
	open      int       // connections of HTTP/2, which wait for that
	answering int       // connections that have to answer, when the context has ended
	hijacked  int
	unserved  int
}

// letGo returns when there is nothing left to wait for, or ctx has ended.
func (s *HTTPServer) letGo(ctx context.Context, d *departure) *ShutdownError {
	w := &waiting{s: s, t: s.schedule(ctx), d: d}
	for {
		w.look(ctx)
		if w.left == 0 && s.stage.CompareAndSwap(stageTelling, stageClosing) {
			continue // from here on, answers that end too late are counted
		}
		if w.left == 0 && !s.shut {
			s.shut = true
			s.shutServer()
			continue
		}
		if w.left == 0 && (w.open == 0 || w.t.over()) {
			return &ShutdownError{
				Crossed:  int(s.lost.crossed.Load()),
				Partial:  int(s.lost.partial.Load()),
				Untold:   int(s.lost.untold.Load()),
				Cut:      w.answering,
				Hijacked: w.hijacked,
				Unserved: w.unserved + d.unserved,
			}
		}
		w.wait(ctx)
	}
}

// shutServer makes the http.Server close the gates and send GOAWAY. It does not wait:
// it would close connections that wait for the client's close.
func (s *HTTPServer) shutServer() {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	s.Server.Shutdown(over)
}

// wait returns when there is something to look at.
func (w *waiting) wait(ctx context.Context) {
	// Events come in crowds: one look is enough for many.
	time.Sleep(w.t.glance / 10)
	delay := w.t.grace // of what becomes idle meanwhile
	if w.t.own > 0 {
		delay = min(delay, w.t.own/2)
	}
	if !w.next.IsZero() {
		delay = min(delay, time.Until(w.next))
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	ended := ctx.Done()
	if w.t.over() {
		ended = nil
	}
	select {
	case <-timer.C:
	case <-w.s.wake:
	case <-ended:
	}
}

// until says that there is something to wait for, not longer than t.
func (w *waiting) until(t time.Time) {
	w.left++
	if w.next.IsZero() || t.Before(w.next) {
		w.next = t
	}
}

func (w *waiting) look(ctx context.Context) {
	now := time.Now()
	if ctx.Err() != nil && !w.t.over() {
		w.t.end = now
	}
	w.next, w.left, w.open, w.answering = time.Time{}, 0, 0, 0
	// First the listeners: what they have accepted is in one of the others.
	select {
	case <-w.d.done:
	default:
		w.left++
	}
	w.unserved = w.lookUnserved(now)
	w.s.conns.Range(func(_, v any) bool {
		if c := v.(*httpConn); c.h2.Load() {
			w.lookHTTP2(c, now)
		} else {
			w.lookHTTP1(c, now)
		}
		return true
	})
	w.hijacked = len(w.s.hijacked.open())
	if until := w.t.atMost(w.t.start.Add(w.t.grace)); w.hijacked > 0 && now.Before(until) {
		w.until(earlierOf(until, now.Add(w.t.glance)))
	}
}

// lookUnserved returns how many connections were accepted that the server does not
// have. Those on which something came are not the server's: a listener that wraps
// others has had time to see it.
func (w *waiting) lookUnserved(now time.Time) (n int) {
	for _, h := range w.d.accepted {
		for c, accepted := range h.conns.open() {
			if accepted.Add(w.t.fresh).Before(w.t.start) {
				continue
			}
			until := w.t.atMost(accepted.Add(w.t.fresh))
			if now.Before(until) {
				w.until(earlierOf(until, now.Add(w.t.glance)))
			} else if bytesReceived(c) > 0 && !w.t.over() {
				continue
			}
			n++
		}
	}
	return n
}

func (w *waiting) lookHTTP1(c *httpConn, now time.Time) {
	p := phase(c.phase.Load())
	switch p {
	case phaseFresh, phaseIdle:
		w.lookIdle(c, p, now)
	case phaseActive:
		if w.t.over() {
			w.answering++
		} else {
			w.left++
		}
	case phaseTold:
		// Net/http waits before it closes, if the answer is not stuck.
		if until := w.t.end.Add(w.t.last); !w.t.over() {
			w.left++
		} else if now.Before(until) {
			w.until(until)
		} else {
			w.answering++
		}
	case phaseCut, phasePartial, phaseCrossed:
		w.takeOver(c)
		if w.t.over() {
			c.until = earlierOf(c.until, w.t.end.Add(w.t.last))
		}
		if now.Before(c.until) {
			w.until(c.until)
			return
		}
		if c.headBegun() {
			c.move(phaseCut, phasePartial)
		} else {
			c.move(phaseCut, phaseExpired)
		}
		w.end(c, now)
	case phaseExpired:
		w.end(c, now)
	}
}

// lookIdle closes a connection that was idle for too long.
func (w *waiting) lookIdle(c *httpConn, p phase, now time.Time) {
	since := w.t.start
	if ns := c.idle.Load(); ns != 0 {
		since = time.Unix(0, ns)
	} else if c.received.Load() == unknown {
		c.received.Store(bytesReceived(c.raw))
	}
	until := since.Add(w.t.grace)
	if p == phaseFresh {
		until = laterOf(until, c.begun.Add(w.t.fresh))
	}
	if now.Before(w.t.atMost(until)) {
		w.until(w.t.atMost(until))
		if !c.headBegun() {
			w.takeOver(c)
		}
		return
	}
	if until = w.t.atMost(until.Add(w.t.head)); now.Before(until) && c.headBegun() {
		w.until(until)
		return
	}
	if !c.move(p, phaseCut) {
		w.until(now) // a request came
		return
	}
	linger := w.t.linger
	if w.t.over() {
		linger = w.t.last
	}
	c.until = now.Add(linger)
	w.takeOver(c)
	if !c.halfClose() {
		c.until = now
	}
	w.until(c.until)
}

// takeOver removes the server's own limit for a silent connection, which would
// close it without looking whether a request comes.
func (w *waiting) takeOver(c *httpConn) {
	if w.t.own > 0 {
		c.conn.SetReadDeadline(time.Time{})
	}
}

// end closes a connection, and waits for net/http to notice.
func (w *waiting) end(c *httpConn, now time.Time) {
	c.conn.Close()
	if until := c.until.Add(w.t.last); now.Before(until) {
		w.until(until)
	} else {
		w.s.forget(c)
	}
}
