package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// restarts replaces all workers many times.
func (t *trial) restarts(workers []*server) error {
	s := t.Scenario
	if s.Habits != nil && s.Habits.Every > 0 {
		return t.overlapping(&workers[0], s.Habits.Every)
	}
	for range t.Restarts {
		if err := t.restart(workers); err != nil {
			return err
		}
		t.load.counter.more(s.between(), patience+2*s.period())
	}
	return nil
}

// overlapping begins a restart every while, and returns when all are over.
func (t *trial) overlapping(w **server, every time.Duration) error {
	errs := make([]error, t.Restarts)
	var leaving sync.WaitGroup
	for i := range t.Restarts {
		next, err := t.fleet.start()
		if err != nil {
			return err
		}
		old := *w
		leaving.Go(func() {
			if errs[i] = t.leave(old); errs[i] == nil {
				errs[i] = old.ended()
			}
		})
		*w = next
		t.out.Restarts++
		time.Sleep(every)
	}
	leaving.Wait()
	return errors.Join(errs...)
}

// restart replaces all workers once, one by one or all at once.
func (t *trial) restart(workers []*server) error {
	if t.Strategy == "none" {
		time.Sleep(50 * time.Millisecond)
		return nil
	}
	if !t.Scenario.Overlap {
		for i := range workers {
			if err := t.replace(&workers[i]); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, len(workers))
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { errs[i] = t.replace(&workers[i]) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// replace puts a new process in the place of w.
func (t *trial) replace(w **server) error {
	old := *w
	var next *server
	var err error
	h := t.Scenario.Habits
	alone := h != nil && h.Alone
	switch {
	case t.Strategy == "stop-start" || alone:
		if err := t.leave(old); err != nil {
			return err
		}
		if err := old.ended(); err != nil {
			return err
		}
		if next, err = t.fleet.start(); err != nil {
			return err
		}
	case t.Strategy == "descriptors":
		if err := t.leave(old); err != nil {
			return err
		}
		if next, err = t.fleet.successor(old); err != nil {
			return err
		}
	default:
		if h != nil && h.GiveUp {
			t.load.losses.leave(old.process.Pid) // what this one loses is a restart's
			if err := t.fleet.giveUp(); err != nil {
				return err
			}
		}
		if next, err = t.fleet.start(); err != nil {
			return err
		}
		if err := t.leave(old); errors.Is(err, errRefused) {
			// The old process serves on; so it is the new one that goes.
			t.mu.Lock()
			t.out.Undone++
			t.mu.Unlock()
			if err := t.leave(next); errors.Is(err, errRefused) {
				t.mu.Lock()
				t.extra = append(t.extra, next)
				t.mu.Unlock()
				return nil
			} else if err != nil {
				return err
			}
			return next.ended()
		} else if err != nil {
			return err
		}
		if err := old.ended(); err != nil {
			return err
		}
	}
	t.mu.Lock()
	t.out.Restarts++
	t.mu.Unlock()
	*w = next
	return nil
}

// tries is how often a server that refuses is asked.
const tries = 20

// leave has a server leave. One that refuses is asked again a little later.
func (t *trial) leave(s *server) (err error) {
	t.load.losses.leave(s.process.Pid)
	for range tries {
		l, err := s.leave()
		if err == nil {
			t.mu.Lock()
			t.out.Drains = append(t.out.Drains, l.Took)
			t.left = append(t.left, departed{s.process.Pid, l})
			t.mu.Unlock()
			return nil
		}
		if !errors.Is(err, errRefused) {
			return err
		}
		t.mu.Lock()
		t.out.Refusals++
		if len(t.out.Errors) < 3 {
			t.out.Errors = append(t.out.Errors, err.Error())
		}
		t.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%w %d times", errRefused, tries)
}

// successor returns the server that old started before it left.
func (f *fleet) successor(old *server) (*server, error) {
	pid, err := old.successorPid()
	if err != nil {
		return nil, err
	}
	if err := old.ended(); err != nil {
		return nil, err
	}
	next := f.server(pid)
	next.process, err = os.FindProcess(pid)
	return next, err
}

func (s *server) successorPid() (int, error) {
	l, err := s.wait(successorLine)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(l.value)
}
