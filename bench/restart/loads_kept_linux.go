package main

import (
	"fmt"
	"time"
)

// kept are clients that keep their connections and notice when the server closes them.
func (l *loadList) kept() {
	for _, p := range []struct {
		pause             time.Duration
		clients, restarts int
	}{{300 * ms, 48, 20}, {time.Second, 100, 20}, {3 * time.Second, 200, 10}, {10 * time.Second, 300, 6}} {
		for _, roundTrip := range []time.Duration{0, 20 * ms, 100 * ms} {
			name := fmt.Sprintf("kept-%v-rtt-%d", p.pause, roundTrip/ms)
			about := fmt.Sprintf("a POST every %v, round trip %v", p.pause, roundTrip)
			s := l.add(roundTrip, name, about, p.clients, p.pause, p.restarts, habits{})
			s.Short = p.pause < time.Second && roundTrip == 20*ms
		}
	}
	l.add(100*ms, "kept-16s", "a POST every 16 s: above the grace, round trip 100ms", 400, 16*time.Second, 4, habits{})
	l.add(20*ms, "look-before", "look before each request, every 1 s", 64, time.Second, 10, habits{Look: lookBefore})
	l.add(20*ms, "early-7s", "connections without a request for 7 s", 64, 300*ms, 5, habits{Client: closeClient, Early: 7 * time.Second})
	l.add(20*ms, "early-18s", "the same for 18 s: above the grace", 64, 300*ms, 3, habits{Client: closeClient, Early: 18 * time.Second})
}

// blind are clients that do not notice.
func (l *loadList) blind() {
	l.add(20*ms, "blind-1s", "never look, every 1 s", 64, time.Second, 10, habits{Look: lookNever})
	l.add(20*ms, "blind-17s", "never look, every 17 s: above the grace", 200, 17*time.Second, 4, habits{Look: lookNever})
	l.add(20*ms, "blind-25s", "never look, every 25 s", 100, 25*time.Second, 3, habits{Look: lookNever})
	l.add(20*ms, "python", "Python's http.client, every 1 s", 32, time.Second, 10, habits{Python: true})
	l.add(100*ms, "idle-timeout", "IdleTimeout 3 s, a POST every 2 s, never look", 64, 2*time.Second, 10, habits{IdleTimeout: 3 * time.Second, Look: lookNever})
}

// parts are requests and answers that take a while or come in other ways than one by
// one.
func (l *loadList) parts() {
	l.add(20*ms, "head-1s", "heads take 1 s", 64, 500*ms, 10, habits{Head: time.Second})
	l.add(20*ms, "head-4s", "heads take 4 s", 64, 2*time.Second, 6, habits{Head: 4 * time.Second})
	l.add(20*ms, "head-20s", "heads take 20 s: more than Shutdown gives them", 64, 8*time.Second, 3, habits{Head: 20 * time.Second})
	l.add(20*ms, "answer-7s", "answers take 7 s and have begun", 64, 300*ms, 6, habits{Answer: 7 * time.Second})
	l.add(20*ms, "large", "answers of a megabyte, read within 3 s", 32, 300*ms, 6, habits{Large: 3 * time.Second})
	l.add(20*ms, "keep-alive-set", "the handler sets Connection: keep-alive", 64, 300*ms, 20, habits{KeepAlive: true})
	l.add(20*ms, "pipeline", "3 requests under way on each connection, always", 16, 20*ms, 20, habits{Client: pipelineClient})
}
