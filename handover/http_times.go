package handover

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// httpTimes are what Shutdown gives to clients.
type httpTimes struct {
	idle   time.Duration // IdleGrace, where neither it nor the server has a limit
	fresh  time.Duration // for the first request, at least
	head   time.Duration // more than IdleGrace, for the rest of a head that has begun
	linger time.Duration // for a client to close its connection, after we did
	last   time.Duration // the same, when the context has ended; above net/http's rstAvoidanceDelay
	glance time.Duration // between looks at what the kernel tells nobody
}

func defaultHTTPTimes() httpTimes {
	return httpTimes{
		idle:   15 * time.Second,
		fresh:  5 * time.Second, // as http.Server.Shutdown
		head:   10 * time.Second,
		linger: 5 * time.Second,
		last:   600 * time.Millisecond,
		glance: 50 * time.Millisecond,
	}
}

// grace returns how long Shutdown waits for the next request of an idle client.
func (s *HTTPServer) grace() time.Duration {
	return cmp.Or(s.IdleGrace, max(s.IdleTimeout, 0), max(s.ReadTimeout, 0), s.times.idle)
}

// ownLimit returns after which time the server itself closes a connection on which
// nothing comes, or 0.
func ownLimit(srv *http.Server) (limit time.Duration) {
	for _, d := range []time.Duration{srv.IdleTimeout, srv.ReadTimeout, srv.ReadHeaderTimeout} {
		if d > 0 && (limit == 0 || d < limit) {
			limit = d
		}
	}
	return limit
}

// A schedule is when Shutdown does what.
type schedule struct {
	httpTimes
	start  time.Time
	grace  time.Duration
	own    time.Duration // ownLimit
	latest time.Time     // when to close idle connections; zero if the context has no deadline
	end    time.Time     // when the context ended; zero before
}

func (s *HTTPServer) schedule(ctx context.Context) *schedule {
	t := &schedule{httpTimes: s.times, start: time.Now(), grace: s.grace(), own: ownLimit(s.Server)}
	if deadline, ok := ctx.Deadline(); ok {
		t.linger = min(t.linger, max(time.Until(deadline)/2, 0))
		t.latest = deadline.Add(-t.linger)
	}
	return t
}

// over reports whether the context has ended.
func (t *schedule) over() bool { return !t.end.IsZero() }

// atMost returns until, or when the context's deadline or end demands to be done.
func (t *schedule) atMost(until time.Time) time.Time {
	switch {
	case t.over():
		return earlierOf(until, t.end)
	case !t.latest.IsZero():
		return earlierOf(until, t.latest)
	}
	return until
}

func earlierOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
