package handover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"example.com/reuse/internal/group"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A set is the sockets that are drained together, or held: one or more, of any
// ports.
type set struct {
	mu      sync.Mutex
	members []*member
	diag    *sockdiag.Conn     // as long as something is to be undone or closed
	parts   []*part            // as of the last look
	undo    []func(*set) error // in the order in which it was done
	steered bool               // what is new goes to others
	settled bool               // the last Drain returned nil
	// Cookies of sockets that leave when they are closed, and were members.
	lingering []uint64
}

// A part is those of a set that are in one group.
type part struct {
	own   []*member
	group group.Members
	slots []uint64 // cookies of the members; nil if they are not known yet
}

// drainThen drains sockets, and calls steered when all new connections go to others.
func drainThen(ctx context.Context, steered func(), socks ...Drainable) error {
	members := membersOf(socks)
	ctx, stop := untilClosing(ctx, members...)
	defer stop()
	taken, err := takeAll(ctx, members)
	defer func() { giveAll(taken) }()
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := m.lacks(); err != nil {
			return err
		}
	}
	s, err := setOf(members)
	if err != nil {
		return err
	}
	if s == nil {
		if steered != nil {
			steered()
		}
		return nil
	}
	// Those that have nothing to lose go on.
	giveAll(slices.DeleteFunc(taken, func(m *member) bool { return slices.Contains(s.members, m) }))
	taken = s.members
	return s.drain(ctx, steered)
}

// membersOf returns the members in one order everywhere, so that two calls do not
// wait for each other.
func membersOf(socks []Drainable) []*member {
	var members []*member
	for _, s := range socks {
		members = append(members, s.members()...)
	}
	slices.SortFunc(members, func(a, b *member) int { return cmp.Compare(a.order, b.order) })
	return slices.Compact(members)
}

// listening returns members without those that have nothing to lose: listeners that
// are bound only, or have left their group.
func listening(members []*member) ([]*member, error) {
	var all []*member
	for _, m := range members {
		listens := !m.left.Load()
		if listens && m.Protocol == unix.IPPROTO_TCP {
			var err error
			if listens, err = m.Listening(); err != nil {
				return nil, err
			}
		}
		if listens {
			all = append(all, m)
		}
	}
	return all, nil
}

// setOf returns the set of those members that have something to lose: the one that
// they are in already, or a new one that takes over what was done in others, or nil
// if there are none. The caller has their turns.
func setOf(members []*member) (*set, error) {
	var old []*set
	for _, m := range members {
		s := m.set.Load()
		if s == nil || slices.Contains(old, s) {
			continue
		}
		if !s.within(members) {
			return nil, errors.New("a socket was drained together with others; drain all of them again")
		}
		old = append(old, s)
	}
	members, err := listening(members)
	if err != nil || len(members) == 0 {
		return nil, err
	}
	if len(old) == 1 && len(old[0].members) == len(members) {
		return old[0], nil
	}
	s := &set{members: members}
	for _, o := range old {
		s.undo = append(s.undo, o.undo...)
		o.end()
	}
	for _, m := range members {
		m.set.Store(s)
	}
	return s, nil
}

// within reports whether all of the set are among members, of which the caller has the
// turns: then nobody else works on it.
func (s *set) within(members []*member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.members, func(m *member) bool { return !slices.Contains(members, m) })
}

// end closes what the set holds.
func (s *set) end() {
	if s.diag != nil {
		s.diag.Close()
		s.diag = nil
	}
}

// drain is drainThen. After an error the sockets serve as before, but when ctx has
// ended they stay steered away from as long as there are others.
func (s *set) drain(ctx context.Context, steered func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = false
	err := s.run(ctx, steered)
	if err == nil {
		s.settled = true
		return nil
	}
	keeps := context.Cause(ctx) != nil && context.Cause(ctx) != net.ErrClosed && !errors.Is(err, ErrNoSuccessor) && s.steered
	if !keeps {
		if undone := s.resume(); undone != nil {
			err = fmt.Errorf("%w; and to serve on: %w", err, undone)
		}
	}
	return err
}

// resume undoes all that was done, in reverse.
func (s *set) resume() (err error) {
	for _, f := range slices.Backward(s.undo) {
		err = errors.Join(err, f(s))
	}
	s.undo, s.parts, s.steered = nil, nil, false
	for _, m := range s.members {
		m.set.Store(nil)
	}
	s.end()
	return err
}

// run steers and settles until nothing changes meanwhile. What answers at once is
// asked also if ctx has ended, so that the error tells what was left.
func (s *set) run(ctx context.Context, steered func()) error {
	now := context.WithoutCancel(ctx)
	if err := s.await(ctx, comeTime); err != nil {
		return err
	}
	if err := s.claim(ctx); err != nil {
		return err
	}
	for {
		changed, err := s.steer(now)
		if err == nil && !changed {
			if steered != nil {
				steered()
				steered = nil
			}
			changed, err = s.settle(ctx)
		}
		if err != nil || !changed {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("the group changed: %w", err)
		}
		if err := s.look(now); err != nil {
			return err
		}
	}
}

// comeTime is how long a Drain waits for a successor that is bound to listen.
const comeTime = 30 * time.Second

// await is look that waits for successors that are bound, and do not listen yet.
// Nothing tells when they do.
func (s *set) await(ctx context.Context, most time.Duration) error {
	begin := time.Now()
	for delay := time.Millisecond; ; delay = min(2*delay, 20*time.Millisecond) {
		err := s.look(context.WithoutCancel(ctx))
		if !errors.Is(err, errComing) || time.Since(begin) > most {
			return err
		}
		if cause := group.Sleep(ctx, delay); cause != nil {
			return fmt.Errorf("%w: %w", err, cause)
		}
	}
}

// errComing is ErrNoSuccessor, for the time being.
var errComing = fmt.Errorf("%w yet; a socket is bound, and nobody has called its Accept", ErrNoSuccessor)

// look finds the groups of the members, of which none may be without others.
func (s *set) look(ctx context.Context) error {
	parts, err := s.lookAll(ctx)
	if err != nil {
		return err
	}
	for _, p := range parts {
		switch others := len(p.group.All) - len(p.own); {
		case others == 0:
			err := ErrNoSuccessor
			if p.group.Coming > 0 {
				err = errComing
			}
			if len(parts) > 1 {
				err = fmt.Errorf("%v: %w", p.own[0].Key, err)
			}
			return err
		case others == 1 && len(p.own) > 1 && p.own[0].Protocol == unix.IPPROTO_UDP:
			// leave could not keep datagrams away from those that have not left
			// yet, and what they got could not be answered.
			return fmt.Errorf("%v: only one other UDP socket has the port: drain and close one after the other", p.own[0].Key)
		}
	}
	s.parts = parts
	return nil
}

func (s *set) lookAll(ctx context.Context) ([]*part, error) {
	if s.diag == nil {
		diag, err := sockdiag.Open()
		if err != nil {
			return nil, group.Missing(err)
		}
		s.diag = diag
	}
	var socks []*group.Socket
	for _, m := range s.members {
		socks = append(socks, m.Socket)
	}
	dump, err := group.Look(ctx, s.diag, socks...)
	if err != nil {
		return nil, err
	}
	byName := map[string]*part{}
	for _, m := range s.members {
		name := m.Key.String()
		p := byName[name]
		if p == nil {
			p = &part{}
			if p.group, err = dump.Members(m.Socket); err != nil {
				return nil, err
			}
			byName[name] = p
		}
		if _, there := slices.BinarySearch(p.group.All, m.Cookie); !there {
			return nil, group.ErrElsewhere
		}
		p.own = append(p.own, m)
	}
	var parts []*part
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		parts = append(parts, byName[name])
	}
	return parts, nil
}

// changed reports whether a group is not what it was at the last look.
func (s *set) changed(ctx context.Context) (bool, error) {
	parts, err := s.lookAll(ctx)
	if err != nil {
		return false, err
	}
	for i, p := range parts {
		if !s.parts[i].group.Same(p.group.All) {
			return true, nil
		}
	}
	return false, nil
}

// claim waits for the claims on all groups, in one order everywhere.
func (s *set) claim(ctx context.Context) error {
	for _, p := range s.parts {
		if slices.ContainsFunc(p.own, func(m *member) bool { return m.claimed }) {
			continue
		}
		first := p.own[0]
		if err := first.Claim(ctx, s.diag); err != nil {
			return err
		}
		first.claimed = true
		s.undo = append(s.undo, func(s *set) (err error) {
			for _, m := range s.members { // first may have left
				if m.claimed && m.Key == first.Key {
					err = errors.Join(err, m.Detach(), m.Release())
					m.claimed = false
				}
			}
			return err
		})
	}
	return nil
}
