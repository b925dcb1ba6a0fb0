package main

import (
	"slices"
	"sync"
	"time"
)

// A cell is one scenario with one strategy.
type cell struct {
	Scenario scenario
	Strategy string
	Restarts int
	Seed     uint64
}

// estimate is about how long a cell takes.
func (c cell) estimate() time.Duration {
	each := c.Scenario.period()
	if h := c.Scenario.Habits; h != nil && h.HalfOpen {
		each += c.Scenario.deadline()
	}
	return time.Duration(c.Restarts) * each
}

// A trial is a cell under way.
type trial struct {
	cell
	fleet *fleet
	load  *load

	mu    sync.Mutex
	out   result
	left  []departed
	extra []*server // those that would not leave
}

// A departed is a server that has left.
type departed struct {
	pid int
	leaving
}

// run measures c. The process is in a network namespace of its own.
func (c cell) run() (result, error) {
	t := &trial{cell: c}
	return t.run()
}

func (t *trial) run() (result, error) {
	s := t.Scenario
	clients, err := newSpace(false)
	if err != nil {
		return result{}, err
	}
	servers := clients
	if s.RoundTrip > 0 {
		if servers, err = newSpace(true); err != nil {
			return result{}, err
		}
		if err := connect(clients, servers, s.RoundTrip, s.Loss, t.Seed); err != nil {
			return result{}, err
		}
	}
	if err := clients.sysctl("net/ipv4/ip_local_port_range", "10000 65000"); err != nil {
		return result{}, err
	}
	for name, value := range s.Sysctl {
		if err := servers.sysctl(name, value); err != nil {
			return result{}, err
		}
	}
	if t.Strategy == "migrate" {
		if err := servers.sysctl("net/ipv4/tcp_migrate_req", "1"); err != nil {
			return result{}, err
		}
	}
	if t.fleet, err = newFleet(servers, serverConfig{Strategy: t.Strategy, Scenario: s, First: true}); err != nil {
		return result{}, err
	}

	t.out = result{Scenario: s.Name, Strategy: t.Strategy}
	workers := make([]*server, s.Workers)
	for i := range workers {
		if workers[i], err = t.fleet.start(); err != nil {
			return result{}, err
		}
	}
	t.fleet.config.First = false
	began := time.Now()
	if t.load, err = startLoad(s, t.Seed); err != nil {
		return result{}, err
	}
	load := t.load
	load.counter.more(s.before(), patience+2*s.period())
	if err := t.restarts(workers); err != nil {
		return result{}, err
	}
	load.stop()
	t.out.Seconds = time.Since(began).Seconds()
	for _, w := range slices.Concat(workers, t.extra) {
		w.kill()
	}
	for _, l := range t.left {
		t.out.Leaves = append(t.out.Leaves, restart{l.leaving, load.losses.take(l.pid)})
	}
	t.out.Stray = load.losses.rest()
	t.out.Tally, t.out.Errors = load.counter.tally, append(t.out.Errors, load.counter.errors...)
	t.out.Longest = load.counter.longest
	return t.out, nil
}
