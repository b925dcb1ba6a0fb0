package main

import "time"

// listeners are those that are wrapped, or inherited, or have handshakes that do not end.
func (l *loadList) listeners() {
	l.add(0, "limit", "netutil.LimitListener, full", 64, 300*ms, 20, habits{Wrap: wrapLimit, Limit: 64})
	l.add(0, "limit-8", "the same, for 8 of 64 clients, a connection per request", 64, 20*ms, 20, habits{Client: closeClient, Wrap: wrapLimit, Limit: 8})
	l.add(20*ms, "proxy", "go-proxyproto", 64, 300*ms, 20, habits{Wrap: wrapProxy})
	l.add(0, "filter", "a filter that refuses some", 64, 300*ms, 20, habits{Wrap: wrapFilter})
	l.add(0, "activated", "a socket of systemd's, marked by Shared, a connection per request", 64, 50*ms, 20, habits{Client: closeClient, Activated: true})
	l.add(20*ms, "activated-kept", "the same, connections kept", 64, 300*ms, 10, habits{Activated: true})
	l.add(20*ms, "half-open", "a handshake a second that does not end", 64, 300*ms, 5, habits{HalfOpen: true})
}

// successors are those that are not there in time.
func (l *loadList) successors() {
	l.add(0, "late", "a successor accepts 2 s later, a connection per request", 64, 50*ms, 5, habits{Client: closeClient, Late: 2 * time.Second})
	l.add(0, "give-up", "one that listens and ends comes before", 64, 50*ms, 10, habits{Client: closeClient, GiveUp: true})
	l.add(0, "alone", "no successor until the server has left, a POST every 300ms", 64, 300*ms, 20, habits{Alone: true})
	l.add(0, "alone-close", "the same, a connection per request", 64, 20*ms, 20, habits{Client: closeClient, Alone: true})
	l.add(20*ms, "overlap", "a restart every 2 s, a POST every 5 s", 200, 5*time.Second, 12, habits{Every: 2 * time.Second})
}
