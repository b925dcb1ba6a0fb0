package main

import (
	"log"
	"time"
)

// startHabits starts the clients of a scenario with habits, and what is beside them.
func (l *load) startHabits(s scenario, seed uint64) error {
	h := *s.Habits
	if h.HalfOpen {
		l.goBeside(s, halfOpen)
	}
	if h.Wrap == wrapFilter {
		l.goBeside(s, unwantedClients)
	}
	if h.Python {
		stop, err := l.startPython(s, seed)
		l.python = stop
		return err
	}
	var connection *shared
	for i := range s.Clients {
		c := l.client(s, seed, i)
		var ask func() error
		var end func()
		switch h.Client {
		case http2Client:
			if i%perConn == 0 {
				connection = newShared(s)
			}
			x := &streams{c, h, connection}
			ask, end = x.ask, x.close
		case pipelineClient:
			x := &pipeline{kept: kept{client: c, habits: h}}
			ask, end = x.ask, x.close
		case socketClient:
			x := &socket{client: c}
			ask, end = x.ask, x.close
		default:
			x := &kept{client: c, habits: h}
			ask, end = x.ask, x.close
		}
		// Not all at once.
		wait := time.Duration(c.random.Float64() * float64(s.period()))
		l.clients.Go(func() {
			time.Sleep(wait)
			l.loop(ask, end)
		})
	}
	return nil
}

func (l *load) goBeside(s scenario, f func(target string, over <-chan struct{}) error) {
	l.beside.Go(func() {
		if err := f(s.Dial[0], l.over); err != nil {
			log.Print(err)
		}
	})
}
