package handover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/reuse/internal/group"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A together is sockets of one group that are drained together. All of them have
// the claim, so that it lasts until the last one is closed.
type together struct {
	mu   sync.Mutex
	rest []*state // not closed yet
	gone uint64   // the cookie of the one that is about to be closed
	// Some of rest may have got something after they were drained, and have to be
	// drained again before they are closed.
	stale bool
}

func drainAll(ctx context.Context, socks []socket) error {
	return drainAllThen(ctx, socks, func() {})
}

func drainAllThen(ctx context.Context, socks []socket, steered func()) error {
	// In one order everywhere, so that two calls do not wait for each other.
	states := make([]*state, len(socks))
	for i, s := range socks {
		states[i] = s.state
	}
	slices.SortFunc(states, func(a, b *state) int {
		if a.self == nil || b.self == nil {
			return 0 // has an error
		}
		return cmp.Compare(a.self.Cookie, b.self.Cookie)
	})
	states = slices.Compact(states)
	if len(states) == 1 {
		return states[0].drainThen(ctx, steered)
	}
	for _, s := range states {
		if err := s.begin(ctx); err != nil {
			return err
		}
		defer s.done()
	}
	diag, err := sockdiag.Open()
	if err != nil {
		return group.Missing(err)
	}
	defer diag.Close()
	t := &together{rest: states}
	ds := make([]*drainer, len(states))
	for i, s := range states {
		ds[i] = &drainer{state: s, diag: diag, steered: steered}
	}
	err = t.run(ctx, ds)
	if err != nil && !ds[0].keeps(ctx, err) {
		for _, d := range ds {
			d.takeBack()
			d.together = nil
		}
	}
	return err
}

// run is drainer.run for all of ds.
func (t *together) run(ctx context.Context, ds []*drainer) error {
	if _, err := t.others(ctx, ds); err != nil {
		return err
	}
	// One of them may have it from an earlier call.
	first := ds[max(slices.IndexFunc(ds, func(d *drainer) bool { return d.claimed }), 0)]
	if !first.claimed {
		if err := first.self.Claim(ctx, first.diag); err != nil {
			return err
		}
	}
	for _, d := range ds {
		d.claimed = true
		if err := d.self.Share(); err != nil {
			return err
		}
	}
	for {
		members, err := t.others(context.WithoutCancel(ctx), ds)
		if err != nil {
			return err
		}
		if err = t.steer(ctx, ds, members); err == nil {
			ds[0].steered()
			for _, d := range ds {
				if err = d.settle(ctx, members); err != nil {
					break
				}
			}
		}
		if err != errChanged {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("%w: %w", errChanged, err)
		}
	}
}

// others returns the members of the group, which has all of ds and others.
func (t *together) others(ctx context.Context, ds []*drainer) (group.Members, error) {
	members, err := ds[0].others(ctx)
	apart := err == ErrNoSuccessor // ds has more than one
	if err != nil && !apart {
		return members, err
	}
	for _, d := range ds {
		apart = apart || !slices.Contains(members.All, d.self.Cookie)
		d.note(members)
	}
	if apart {
		return members, errors.New("the sockets do not share one port and address")
	}
	switch others := len(members.All) - len(ds); {
	case others == 0:
		return members, ErrNoSuccessor
	case others == 1 && ds[0].self.Protocol == unix.IPPROTO_UDP:
		// leaveProgram could not keep datagrams away from those that are not
		// closed yet, and what they got could not be answered.
		return members, errors.New("only one other UDP socket has the port: drain and close one after the other")
	}
	return members, nil
}

// steer makes connections go to other members than ds.
func (t *together) steer(ctx context.Context, ds []*drainer, members group.Members) error {
	for _, d := range ds {
		if err := d.deferNothing(); err != nil {
			return err
		}
	}
	slots, err := locate(ctx, ds, members)
	if err != nil {
		return err
	}
	err = group.Attach(ds[0].self, group.Steering{N: len(members.All), Not: slots}.Program())
	if err != nil {
		return err
	}
	for _, d := range ds {
		d.steering, d.together = &members, t
	}
	return group.Grace(context.WithoutCancel(ctx))
}

// closeTime bounds what leave waits for.
const closeTime = 5 * time.Second

// leaveProgram is that of state, where others are drained and not closed yet. It
// reports whether there are none.
//
// A leave moves the last member into the hole. So until then, and after, those
// are chosen that are neither drained nor the last. If there are none, it is the
// last one until then; after that the kernel goes by its hash, and the rest can
// get something, of which they are drained again.
func (t *together) leaveProgram(s *state) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = slices.DeleteFunc(t.rest, func(other *state) bool { return other == s })
	last = len(t.rest) == 0
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	// Where it fails, the rest can get something.
	stale := t.stale
	t.stale = true
	diag, err := sockdiag.Open()
	for scarce(err) && stale && group.Sleep(ctx, 10*time.Millisecond) == nil {
		diag, err = sockdiag.Open()
	}
	if err != nil {
		return last
	}
	defer diag.Close()
	members, err := t.without(ctx, diag, s)
	if err != nil {
		return last
	}
	var ds []*drainer
	for _, other := range append(slices.Clone(t.rest), s) {
		d := &drainer{state: other, diag: diag}
		d.note(members)
		ds = append(ds, d)
	}
	slots, err := locate(ctx, ds, members)
	if err != nil {
		return last
	}
	n, slot := len(members.All), slots[len(slots)-1]
	if stale {
		group.Attach(s.self, group.Steering{N: n, Not: slots}.Program())
		group.Grace(ctx)
		(&drainer{state: s, diag: diag}).settle(ctx, members)
	}
	if last {
		return true
	}
	t.stale = stale
	program := group.Steering{N: n, Not: append(slots, n-1)}.Program()
	if excluded := slices.Compact(slices.Sorted(slices.Values(append(slots, n-1)))); len(excluded) == n {
		program = group.Only(n - 1)
		t.stale = true
	}
	group.Attach(s.self, program)

	t.gone = s.self.Cookie
	moved := slices.DeleteFunc(slices.Clone(members.All), func(c uint64) bool { return c == t.gone })
	for i, other := range t.rest {
		if slots[i] == n-1 {
			slots[i] = slot
		}
		other.mu.Lock()
		other.slot.Set(slots[i], moved)
		other.mu.Unlock()
	}
	return false
}

// without returns the members when the socket that left before is gone.
func (t *together) without(ctx context.Context, diag *sockdiag.Conn, s *state) (group.Members, error) {
	for {
		members, err := s.self.Members(ctx, diag)
		if err != nil || !slices.Contains(members.All, t.gone) {
			return members, err
		}
		if err := group.Sleep(ctx, time.Millisecond); err != nil {
			return members, fmt.Errorf("a socket that left is not closed: %w", err)
		}
	}
}
