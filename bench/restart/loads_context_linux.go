package main

import "time"

// ends adds a load whose Shutdown has not enough time.
func (l *loadList) ends(limit time.Duration, name, about string, pause time.Duration, restarts int, h habits) *scenario {
	h.Deadline = limit
	return l.add(100*ms, name, about, 100, pause, restarts, h)
}

// contexts are clients that Shutdown's context leaves too little time.
func (l *loadList) contexts() {
	l.ends(time.Second, "ctx-1s", "ctx ends after 1 s, a POST every 1 s", time.Second, 20, habits{}).Short = true
	l.ends(time.Second, "ctx-1s-blind", "the same, never look", time.Second, 10, habits{Look: lookNever})
	l.ends(time.Second, "ctx-1s-expect", "the same, 100 Continue", time.Second, 10, habits{Expect: true})
	l.ends(2*time.Second, "ctx-2s-answer", "ctx ends after 2 s, answers take 4 s", 300*ms, 10, habits{Answer: 4 * time.Second})
	l.ends(2*time.Second, "ctx-2s-head", "ctx ends after 2 s, heads take 1 s", time.Second, 10, habits{Head: time.Second})
}

// secure are clients that speak TLS.
func (l *loadList) secure() {
	l.add(20*ms, "tls", "TLS, every 300ms", 48, 300*ms, 20, habits{TLS: true}).Short = true
	l.add(100*ms, "tls-1s", "TLS, every 1 s, round trip 100ms", 64, time.Second, 10, habits{TLS: true})
	l.add(20*ms, "tls-blind-17s", "TLS, never look, every 17 s", 100, 17*time.Second, 3, habits{TLS: true, Look: lookNever})
	l.ends(time.Second, "tls-ctx-1s", "TLS, ctx ends after 1 s", time.Second, 20, habits{TLS: true})
}

// lossy are clients on links that lose packets, which delays answers.
func (l *loadList) lossy() {
	lossy := func(s *scenario) { s.Loss, s.Delays = 0.02, false }
	lossy(l.add(100*ms, "kept-loss", "2% of packets lost, every 1 s, round trip 100ms", 100, time.Second, 10, habits{}))
	lossy(l.add(100*ms, "blind-loss", "the same, never look, every 17 s", 200, 17*time.Second, 3, habits{Look: lookNever}))
	lossy(l.ends(2*time.Second, "ctx-loss", "the same, ctx ends after 2 s, every 1 s", time.Second, 20, habits{}))
	lossy(l.add(20*ms, "h2-loss", "2% of packets lost, HTTP/2, bodies that can't be sent again", 64, 200*ms, 10, habits{Client: http2Client, TLS: true}))
}
