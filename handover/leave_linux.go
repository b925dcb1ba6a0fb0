package handover

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"example.com/reuse/internal/group"
	"golang.org/x/sys/unix"
)

// closeTime bounds what leave waits for.
const closeTime = 5 * time.Second

// leave takes sockets out of their groups, for m to be closed: all listeners of the
// set if nothing is left in them, otherwise m alone. What fails leaves a moment in which
// something can be lost.
func (s *set) leave(m *member) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.left.Load() || m.set.Load() != s {
		return nil // with another one, or all were resumed
	}
	if !s.steered { // it is held
		return s.resume()
	}
	leaving := []*member{m}
	if s.settled {
		// The application of another UDP socket may be answering.
		leaving = slices.DeleteFunc(slices.Clone(s.members), func(other *member) bool {
			return other != m && other.Protocol == unix.IPPROTO_UDP
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := s.leaveAll(ctx, leaving)
	if len(s.members) == 0 {
		s.end()
	}
	return err
}

// leaveAll takes sockets out of their groups, in as few rounds as it can.
//
// The kernel takes a leaving socket out of its group first, and then where packets
// find it; and another member moves into the hole. So before, the sockets hide, and
// the program chooses those only that are right before and after. After a grace
// period no packet is under way that was found otherwise.
func (s *set) leaveAll(ctx context.Context, leaving []*member) (err error) {
	note := func(failed error) { err = errors.Join(err, failed) }
	note(s.refresh(ctx))
	for len(leaving) > 0 {
		batches, safe := make([][]*member, len(s.parts)), true
		for i, p := range s.parts {
			batches[i] = p.batch(leaving)
			if len(batches[i]) == 0 {
				continue
			}
			program, right := p.whileLeaving(len(batches[i]))
			if program != nil {
				note(p.own[0].Attach(program))
			}
			safe = safe && right
			for _, m := range batches[i] {
				m.hidden = m.Hide() == nil
			}
		}
		note(group.Grace(ctx))
		datagrams := false
		for i, p := range s.parts {
			for _, m := range batches[i] {
				note(s.leaveOne(p, m))
				datagrams = datagrams || m.Protocol == unix.IPPROTO_UDP && !m.hidden
			}
		}
		s.parts = slices.DeleteFunc(s.parts, func(p *part) bool { return len(p.own) == 0 })
		for _, p := range s.parts {
			if p.slots != nil {
				note(p.own[0].Attach(group.Among(p.others())))
			}
		}
		leaving = slices.DeleteFunc(leaving, func(m *member) bool { return m.left.Load() })
		if datagrams || !safe {
			note(group.Grace(ctx))
		}
		if !safe {
			// Between the leave and the program the kernel went by its hash.
			_, failed := s.settle(ctx)
			note(failed)
		}
	}
	return err
}

// refresh learns the slots again of groups that have changed since they were, also
// while it does.
func (s *set) refresh(ctx context.Context) error {
	for {
		err := s.refreshOnce(ctx)
		if !errors.Is(err, group.ErrUnknown) {
			return err
		}
		if changed, failed := s.changed(ctx); failed != nil || !changed {
			return errors.Join(err, failed)
		}
	}
}

func (s *set) refreshOnce(ctx context.Context) error {
	parts, err := s.lookAll(ctx)
	for err == nil && slices.ContainsFunc(parts, func(p *part) bool { return slices.ContainsFunc(p.group.All, s.lingers) }) {
		// Another one has left, and is about to be closed.
		if err = group.Sleep(ctx, time.Millisecond); err == nil {
			parts, err = s.lookAll(ctx)
		}
	}
	if err != nil {
		return err
	}
	for i, p := range parts {
		was := s.parts[i]
		if was.slots != nil && was.group.Same(p.group.All) {
			p.slots = was.slots
			continue
		}
		if len(p.group.All) == len(p.own) {
			continue // nobody is to be chosen
		}
		if p.slots, err = p.own[0].Slots(ctx, s.diag, p.group); err != nil {
			break
		}
	}
	s.parts = parts
	return err
}

// batch returns those of leaving that can leave at once, the ones in the highest
// slots first.
func (p *part) batch(leaving []*member) []*member {
	var batch []*member
	for _, m := range p.own {
		if slices.Contains(leaving, m) {
			batch = append(batch, m)
		}
	}
	others := p.others()
	if len(others) == 0 || len(batch) == 0 {
		return batch // nobody is to be chosen
	}
	slices.SortFunc(batch, func(a, b *member) int {
		return cmp.Compare(slices.Index(p.slots, b.Cookie), slices.Index(p.slots, a.Cookie))
	})
	// So many may leave before the first of the others moves. When the last one
	// leaves it may move.
	most := len(p.slots) - others[0] - 1
	if len(batch) == len(p.own) && len(batch) == most+1 {
		most++
	}
	// If there is only one other, in the last slot, it moves each time.
	return batch[:min(len(batch), max(most, 1))]
}

// whileLeaving returns a program that is right while a batch of so many leaves: it
// chooses others that do not move. If possible it does nothing when all of the part
// have left: it chooses a slot that is out of range then. It is nil if nothing is
// known, and not safe if there is none: then it is right before.
func (p *part) whileLeaving(batch int) (program []group.Instruction, safe bool) {
	others := p.others()
	if len(others) == 0 {
		return nil, true
	}
	end := len(p.slots) - batch
	if batch == len(p.own) && slices.Contains(others, end) {
		return group.Among([]int{end}), true
	}
	stay := slices.DeleteFunc(slices.Clone(others), func(slot int) bool { return slot >= end })
	if len(stay) == 0 {
		return group.Among(others), false
	}
	return group.Among(stay), true
}

// leaveOne takes a socket out of its group that is hidden.
func (s *set) leaveOne(p *part, m *member) (err error) {
	last := len(p.own) == 1
	m.left.Store(true)                                    // before Accept fails
	lingers := m.hidden && m.Protocol == unix.IPPROTO_UDP // until it is closed
	if !lingers {
		if last && len(p.others()) > 0 {
			// What stays.
			program, _ := p.whileLeaving(1)
			err = m.Attach(program)
		}
		err = errors.Join(err, m.Leave())
	}
	if !last && m.claimed {
		next := p.own[0]
		if next == m {
			next = p.own[1]
		}
		err = errors.Join(err, next.Share())
		next.claimed = true
	}
	m.claimed = false
	m.set.Store(nil)
	p.remove(m)
	if lingers || err != nil {
		p.slots = nil // they change later
		s.lingering = append(s.lingering, m.Cookie)
	}
	s.members = slices.DeleteFunc(slices.Clone(s.members), func(other *member) bool { return other == m })
	return err
}

// lingers reports whether a socket has left the set, and not its group.
func (s *set) lingers(cookie uint64) bool { return slices.Contains(s.lingering, cookie) }

// remove does what the kernel does with the array.
func (p *part) remove(m *member) {
	p.own = slices.DeleteFunc(slices.Clone(p.own), func(other *member) bool { return other == m })
	if i := slices.Index(p.slots, m.Cookie); i >= 0 {
		end := len(p.slots) - 1
		p.slots[i] = p.slots[end]
		p.slots = p.slots[:end]
	}
	p.group.All = slices.DeleteFunc(p.group.All, func(c uint64) bool { return c == m.Cookie })
}

// empty waits until nothing is left in a listener that is alone. If it is to hide, no
// packet of a new client finds it; those that follow one find it by the handshake.
// Errors do not matter: the listener is closed all the same.
func (m *member) empty(ctx context.Context, hide bool) {
	if m.take(ctx) != nil {
		return
	}
	defer m.give()
	if m.err != nil || m.set.Load() != nil {
		return
	}
	s := &set{members: []*member{m}}
	defer s.end()
	if hide && m.Hide() == nil && group.Grace(ctx) != nil {
		return
	}
	for {
		var err error
		if s.parts, err = s.lookAll(context.WithoutCancel(ctx)); err != nil {
			return
		}
		if changed, err := s.settle(ctx); err != nil || !changed {
			return
		}
	}
}
