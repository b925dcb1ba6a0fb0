package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/reuse/internal/group"
)

// hold gives the next socket that joins a share of what is new, and the rest to
// those that are in the group now.
func (m *member) hold(ctx context.Context, share float64) error {
	if !(0 <= share && share <= 1) {
		return fmt.Errorf("a share of %v", share)
	}
	ctx, stop := untilClosing(ctx, m)
	defer stop()
	taken, err := takeAll(ctx, []*member{m})
	defer giveAll(taken)
	if err != nil {
		return err
	}
	if err := m.lacks(); err != nil {
		return err
	}
	s := m.set.Load()
	begins := s == nil
	if begins {
		s = &set{members: []*member{m}}
		m.set.Store(s)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.steered {
		return errors.New("the socket is drained; resume it first")
	}
	err = s.share(ctx, share)
	if err != nil && begins {
		err = errors.Join(err, s.resume())
	}
	return err
}

// share is hold. Who joins is behind those that were there at the first hold, as
// long as none of them leaves.
func (s *set) share(ctx context.Context, share float64) error {
	parts, err := s.lookAll(ctx)
	if err != nil {
		return err
	}
	if s.parts == nil {
		s.parts = parts
		if err := s.claim(ctx); err != nil {
			return err
		}
		if parts, err = s.lookAll(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		s.parts = parts
	}
	held, now := s.parts[0].group, parts[0].group
	for _, cookie := range held.All {
		if !slices.Contains(now.All, cookie) {
			return errors.New("a socket has left that newcomers were held back from")
		}
	}
	n := len(held.All) + held.Connected
	slots := make([]int, n)
	for i := range slots {
		slots[i] = i
	}
	program := group.Among(slots)
	if thousandths := int(1000*share + 0.5); thousandths > 0 {
		program = group.Share(n, thousandths, slots)
	}
	return s.members[0].Attach(program)
}

// resume undoes what Hold, or a Drain, of the member did, and of all that were
// drained with it.
func (m *member) resume(ctx context.Context) error {
	for {
		if err := m.take(ctx); err != nil {
			return err
		}
		s := m.set.Load()
		if s == nil {
			m.give()
			return nil
		}
		s.mu.Lock()
		all := slices.Clone(s.members)
		s.mu.Unlock()
		m.give()
		if done, err := resumeSet(ctx, s, all); done || err != nil {
			return err
		}
	}
}

// resumeSet reports whether s was still the set of all.
func resumeSet(ctx context.Context, s *set, all []*member) (done bool, err error) {
	for _, m := range all {
		if err := m.take(ctx); err != nil {
			return false, err
		}
		defer m.give()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.members, all) || slices.ContainsFunc(all, func(m *member) bool { return m.set.Load() != s }) {
		return false, nil
	}
	return true, s.resume()
}
