package handover

import (
	"net"
	"os"
	"sync"
	"time"
)

// A deadline is that of a listener whose socket does not listen any more, so that
// package net cannot wait for it.
type deadline struct {
	mu      sync.Mutex
	time    time.Time
	changed chan struct{} // closed by the next set, if somebody waits
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.time = t
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}

// wait returns err, with the reason for it, when the listener is closed or its time
// is over.
func (d *deadline) wait(closed <-chan struct{}, err error) error {
	op, ok := err.(*net.OpError)
	if !ok {
		return err
	}
	for {
		d.mu.Lock()
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		end, changed := d.time, d.changed
		d.mu.Unlock()
		var over <-chan time.Time
		if !end.IsZero() {
			timer := time.NewTimer(time.Until(end))
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-closed:
			return &net.OpError{Op: op.Op, Net: op.Net, Addr: op.Addr, Err: net.ErrClosed}
		case <-over:
			return &net.OpError{Op: op.Op, Net: op.Net, Addr: op.Addr, Err: os.ErrDeadlineExceeded}
		case <-changed:
		}
	}
}
