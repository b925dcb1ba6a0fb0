package main

import "time"

// loads are the scenarios with habits. No default of package handover is changed.
func loads() []scenario {
	var l loadList
	l.kept()
	l.blind()
	l.parts()
	l.contexts()
	l.secure()
	l.http2()
	l.lossy()
	l.sockets()
	l.listeners()
	l.successors()
	return l.all
}

const ms = time.Millisecond

// A loadList is a list of scenarios to which others are added.
type loadList struct{ all []scenario }

// add adds a load at a round-trip time. Its clients keep their connections and look
// always, unless h says something else. The result is valid until the next call.
func (l *loadList) add(roundTrip time.Duration, name, about string, clients int, pause time.Duration, restarts int, h habits) *scenario {
	const port = ":9999"
	ip := "127.0.0.1"
	if roundTrip > 0 {
		ip = serverIP
	}
	if h.Client == "" {
		h.Client = keptClient
	}
	if h.Look == "" {
		h.Look = lookAlways
	}
	l.all = append(l.all, scenario{
		Name: name, About: about, Kind: "http", Habits: &h,
		Network: "tcp", Address: ip + port, Dial: []string{ip + port}, RoundTrip: roundTrip,
		Clients: clients, Pause: pause, Workers: 1, Restarts: restarts, Delays: true,
	})
	return &l.all[len(l.all)-1]
}
