package main

import (
	"fmt"
	"time"
)

// loads are the scenarios with habits. No default of package handover is changed.
func loads() []scenario {
	const port = ":9999"
	loopback := scenario{
		Kind: "http", Network: "tcp", Address: "127.0.0.1" + port, Dial: []string{"127.0.0.1" + port},
		Workers: 1, Delays: true,
	}
	link := loopback
	link.Address, link.Dial = serverIP+port, []string{serverIP + port}

	var all []scenario
	// at adds a load at a round-trip time.
	at := func(roundTrip time.Duration, name, about string, clients int, pause time.Duration, restarts int, h habits) *scenario {
		s := loopback
		if roundTrip > 0 {
			s = link
		}
		if h.Client == "" {
			h.Client = keptClient
		}
		if h.Look == "" {
			h.Look = lookAlways
		}
		s.Name, s.About, s.Clients, s.Pause, s.Restarts, s.RoundTrip, s.Habits = name, about, clients, pause, restarts, roundTrip, &h
		all = append(all, s)
		return &all[len(all)-1]
	}
	const ms = time.Millisecond
	for _, p := range []struct {
		pause             time.Duration
		clients, restarts int
	}{{300 * ms, 48, 20}, {time.Second, 100, 20}, {3 * time.Second, 200, 10}, {10 * time.Second, 300, 6}} {
		for _, roundTrip := range []time.Duration{0, 20 * ms, 100 * ms} {
			s := at(roundTrip, fmt.Sprintf("kept-%v-rtt-%d", p.pause, roundTrip/ms),
				fmt.Sprintf("a POST every %v, round trip %v", p.pause, roundTrip), p.clients, p.pause, p.restarts, habits{})
			s.Short = p.pause < time.Second && roundTrip == 20*ms
		}
	}
	at(20*ms, "look-before", "look before each request, every 1 s", 64, time.Second, 10, habits{Look: lookBefore})
	at(20*ms, "blind-1s", "never look, every 1 s", 64, time.Second, 10, habits{Look: lookNever})
	at(20*ms, "python", "Python's http.client, every 1 s", 32, time.Second, 10, habits{Python: true})
	at(20*ms, "blind-17s", "never look, every 17 s: above the grace", 200, 17*time.Second, 4, habits{Look: lookNever})
	at(20*ms, "blind-25s", "never look, every 25 s", 100, 25*time.Second, 3, habits{Look: lookNever})
	at(100*ms, "kept-16s", "a POST every 16 s: above the grace, round trip 100ms", 400, 16*time.Second, 4, habits{})

	at(20*ms, "head-1s", "heads take 1 s", 64, 500*ms, 10, habits{Head: time.Second})
	at(20*ms, "head-4s", "heads take 4 s", 64, 2*time.Second, 6, habits{Head: 4 * time.Second})
	at(20*ms, "head-20s", "heads take 20 s: more than Shutdown gives them", 64, 8*time.Second, 3, habits{Head: 20 * time.Second})
	at(20*ms, "answer-7s", "answers take 7 s and have begun", 64, 300*ms, 6, habits{Answer: 7 * time.Second})
	at(20*ms, "large", "answers of a megabyte, read within 3 s", 32, 300*ms, 6, habits{Large: 3 * time.Second})
	at(20*ms, "half-open", "a handshake a second that does not end", 64, 300*ms, 5, habits{HalfOpen: true})
	at(20*ms, "keep-alive-set", "the handler sets Connection: keep-alive", 64, 300*ms, 20, habits{KeepAlive: true})
	at(20*ms, "pipeline", "3 requests under way on each connection, always", 16, 20*ms, 20, habits{Client: pipelineClient})
	at(100*ms, "idle-timeout", "IdleTimeout 3 s, a POST every 2 s, never look", 64, 2*time.Second, 10, habits{IdleTimeout: 3 * time.Second, Look: lookNever})

	deadline := func(name, about string, limit, pause time.Duration, h habits) *scenario {
		h.Deadline = limit
		return at(100*ms, name, about, 100, pause, 20, h)
	}
	deadline("ctx-1s", "ctx ends after 1 s, a POST every 1 s", time.Second, time.Second, habits{}).Short = true
	deadline("ctx-1s-blind", "the same, never look", time.Second, time.Second, habits{Look: lookNever}).Restarts = 10
	deadline("ctx-2s-answer", "ctx ends after 2 s, answers take 4 s", 2*time.Second, 300*ms, habits{Answer: 4 * time.Second}).Restarts = 10
	deadline("ctx-1s-expect", "ctx ends after 1 s, 100 Continue, every 1 s", time.Second, time.Second, habits{Expect: true}).Restarts = 10
	deadline("ctx-2s-head", "ctx ends after 2 s, heads take 1 s", 2*time.Second, time.Second, habits{Head: time.Second}).Restarts = 10

	at(20*ms, "tls", "TLS, every 300ms", 48, 300*ms, 20, habits{TLS: true}).Short = true
	at(100*ms, "tls-1s", "TLS, every 1 s, round trip 100ms", 64, time.Second, 10, habits{TLS: true})
	at(20*ms, "tls-blind-17s", "TLS, never look, every 17 s", 100, 17*time.Second, 3, habits{TLS: true, Look: lookNever})
	deadline("tls-ctx-1s", "TLS, ctx ends after 1 s", time.Second, time.Second, habits{TLS: true})
	// Net/http's client waits for a second before it repeats a request once more.
	for _, secure := range []bool{true, false} {
		name, about := "h2c", "HTTP/2 without TLS"
		if secure {
			name, about = "h2", "HTTP/2"
		}
		for _, replayable := range []bool{true, false} {
			name, about := name, about
			if !replayable {
				name, about = name+"-once", about+", bodies that can't be sent again"
			}
			h := habits{Client: http2Client, TLS: secure, Replayable: replayable}
			s := at(20*ms, name, about, 64, 200*ms, 20, h)
			s.Delays, s.Short = false, secure && !replayable
			if !replayable {
				at(100*ms, name+"-busy", about+", without pause", 64, 0, 20, h).Delays = false
			}
		}
	}
	h2 := habits{Client: http2Client, TLS: true, Answer: 4 * time.Second}
	at(20*ms, "h2-answer", "HTTP/2, answers take 4 s", 64, 300*ms, 6, h2).Delays = false
	h2.Deadline = 2 * time.Second
	at(20*ms, "h2-ctx-2s", "the same, ctx ends after 2 s", 64, 300*ms, 10, h2).Delays = false
	lossy := func(s *scenario) { s.Loss, s.Delays = 0.02, false }
	lossy(at(100*ms, "kept-loss", "2% of packets lost, every 1 s, round trip 100ms", 100, time.Second, 10, habits{}))
	lossy(at(100*ms, "blind-loss", "the same, never look, every 17 s", 200, 17*time.Second, 3, habits{Look: lookNever}))
	lossy(deadline("ctx-loss", "the same, ctx ends after 2 s, every 1 s", 2*time.Second, time.Second, habits{}))
	lossy(at(20*ms, "h2-loss", "2% of packets lost, HTTP/2, bodies that can't be sent again", 64, 200*ms, 10, habits{Client: http2Client, TLS: true}))
	at(20*ms, "early-7s", "connections without a request for 7 s", 64, 300*ms, 5, habits{Client: closeClient, Early: 7 * time.Second})
	at(20*ms, "early-18s", "the same for 18 s: above the grace", 64, 300*ms, 3, habits{Client: closeClient, Early: 18 * time.Second})
	at(20*ms, "overlap", "a restart every 2 s, a POST every 5 s", 200, 5*time.Second, 12, habits{Every: 2 * time.Second})
	at(20*ms, "sockets", "WebSockets that end when Draining says so", 64, 300*ms, 10, habits{Client: socketClient}).Short = true
	at(20*ms, "sockets-deaf", "WebSockets that do not", 64, 300*ms, 3, habits{Client: socketClient, Deaf: true})
	at(0, "limit", "netutil.LimitListener, full", 64, 300*ms, 20, habits{Wrap: wrapLimit, Limit: 64})
	at(0, "limit-8", "the same, for 8 of 64 clients, a connection per request", 64, 20*ms, 20, habits{Client: closeClient, Wrap: wrapLimit, Limit: 8})
	at(20*ms, "proxy", "go-proxyproto", 64, 300*ms, 20, habits{Wrap: wrapProxy})
	at(0, "filter", "a filter that refuses some", 64, 300*ms, 20, habits{Wrap: wrapFilter})
	at(0, "activated", "a socket of systemd's, marked by Shared, a connection per request", 64, 50*ms, 20, habits{Client: closeClient, Activated: true})
	at(20*ms, "activated-kept", "the same, connections kept", 64, 300*ms, 10, habits{Activated: true})
	at(0, "alone", "no successor until the server has left, a POST every 300ms", 64, 300*ms, 20, habits{Alone: true})
	at(0, "alone-close", "the same, a connection per request", 64, 20*ms, 20, habits{Client: closeClient, Alone: true})
	at(0, "late", "a successor accepts 2 s later, a connection per request", 64, 50*ms, 5, habits{Client: closeClient, Late: 2 * time.Second})
	at(0, "give-up", "one that listens and ends comes before", 64, 50*ms, 10, habits{Client: closeClient, GiveUp: true})
	return all
}
