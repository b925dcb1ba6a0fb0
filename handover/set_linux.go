package handover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	diag    *sockdiag.Conn // as long as something is to be undone or closed
	parts   []*part        // as of the last look
	undo    []func() error // in the order in which it was done
	settled bool           // the last Drain returned nil
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	members := membersOf(socks)
	for _, m := range members {
		defer context.AfterFunc(m.closing, func() { cancel(net.ErrClosed) })()
		if err := m.take(ctx); err != nil {
			return err
		}
		defer m.give()
	}
	for _, m := range members {
		if err := m.closing.Err(); err != nil {
			return net.ErrClosed
		}
		if err := m.lacks(); err != nil {
			return err
		}
	}
	members, err := listening(members)
	if err == nil && len(members) > 0 {
		var s *set
		if s, err = setOf(members); err == nil {
			return s.drain(ctx, steered)
		}
	}
	if err == nil && steered != nil {
		steered()
	}
	return err
}

// membersOf returns the members in one order everywhere, so that two calls do not
// wait for each other.
func membersOf(socks []Drainable) []*member {
	var members []*member
	for _, s := range socks {
		members = append(members, s.members()...)
	}
	slices.SortFunc(members, func(a, b *member) int {
		if a.Socket == nil || b.Socket == nil {
			return 0 // has an error
		}
		return cmp.Compare(a.Cookie, b.Cookie)
	})
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

// setOf returns the set of members: the one that they are in already, or a new one
// that takes over what was done in others.
func setOf(members []*member) (*set, error) {
	var old []*set
	for _, m := range members {
		if m.set != nil && !slices.Contains(old, m.set) {
			old = append(old, m.set)
		}
	}
	if len(old) == 1 && len(old[0].members) == len(members) {
		return old[0], nil
	}
	s := &set{members: members}
	for _, o := range old {
		for _, m := range o.members {
			if !slices.Contains(members, m) {
				return nil, errors.New("a socket was drained together with others; drain all of them again")
			}
		}
	}
	for _, o := range old {
		s.undo = append(s.undo, o.undo...)
		o.end()
	}
	for _, m := range members {
		m.set = s
	}
	return s, nil
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
	keeps := context.Cause(ctx) != nil && context.Cause(ctx) != net.ErrClosed && !errors.Is(err, ErrNoSuccessor) && s.steered()
	if !keeps {
		if undone := s.resume(); undone != nil {
			err = fmt.Errorf("%w; and to serve on: %w", err, undone)
		}
	}
	return err
}

func (s *set) steered() bool {
	return len(s.parts) > 0 && !slices.ContainsFunc(s.parts, func(p *part) bool { return p.slots == nil })
}

// resume undoes all that was done, in reverse.
func (s *set) resume() (err error) {
	for _, f := range slices.Backward(s.undo) {
		err = errors.Join(err, f())
	}
	s.undo, s.parts = nil, nil
	for _, m := range s.members {
		m.set = nil
	}
	s.end()
	return err
}

// run steers and settles until nothing changes meanwhile. What answers at once is
// asked also if ctx has ended, so that the error tells what was left.
func (s *set) run(ctx context.Context, steered func()) error {
	now := context.WithoutCancel(ctx)
	if err := s.look(now); err != nil {
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

// look finds the groups of the members, of which none may be without others.
func (s *set) look(ctx context.Context) error {
	parts, err := s.lookAll(ctx)
	if err != nil {
		return err
	}
	for _, p := range parts {
		switch others := len(p.group.All) - len(p.own); {
		case others == 0:
			return ErrNoSuccessor
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
	var parts []*part
	for _, m := range s.members {
		i := slices.IndexFunc(parts, func(p *part) bool { return p.own[0].Key == m.Key })
		if i < 0 {
			p := &part{}
			if p.group, err = dump.Members(m.Socket); err != nil {
				return nil, err
			}
			i, parts = len(parts), append(parts, p)
		}
		p := parts[i]
		if !slices.Contains(p.group.All, m.Cookie) {
			return nil, group.ErrElsewhere
		}
		p.own = append(p.own, m)
	}
	slices.SortFunc(parts, func(a, b *part) int { return cmp.Compare(a.own[0].Key.String(), b.own[0].Key.String()) })
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
		s.undo = append(s.undo, func() (err error) {
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

// steer makes connections go to the others. It reports whether a group has changed,
// so that it could not.
func (s *set) steer(ctx context.Context) (changed bool, err error) {
	for _, p := range s.parts {
		for _, m := range p.own {
			if err := s.deferNothing(m); err != nil {
				return false, err
			}
		}
		slots, err := p.own[0].Slots(ctx, s.diag, p.group)
		if errors.Is(err, group.ErrUnknown) {
			if changed, failed := s.changed(ctx); failed != nil || changed {
				return changed, failed
			}
			return false, fmt.Errorf("%w: %w", ErrUnknownSlot, err)
		}
		if err != nil {
			return false, err
		}
		p.slots = slots
		if err := p.own[0].Attach(group.Among(p.others())); err != nil {
			return false, err
		}
	}
	return false, group.Grace(ctx)
}

// deferNothing lets connections into the queue that wait for data. They are in no
// queue, and have the client's acknowledgment already. Without the option the
// kernel sends its answer again, and the next acknowledgment completes the
// handshake (tcp_check_req, reqsk_timer_handler).
func (s *set) deferNothing(m *member) error {
	if m.Protocol != unix.IPPROTO_TCP {
		return nil
	}
	was, err := m.DeferAccept(0)
	if err == nil && was > 0 {
		s.undo = append(s.undo, func() error {
			if m.left.Load() {
				return nil
			}
			_, err := m.DeferAccept(was)
			return err
		})
	}
	return err
}

// others returns the slots of members that are not the part's own.
func (p *part) others() []int {
	var slots []int
	for slot, cookie := range p.slots {
		if cookie != 0 && !p.owns(cookie) {
			slots = append(slots, slot)
		}
	}
	return slots
}

func (p *part) owns(cookie uint64) bool {
	return slices.ContainsFunc(p.own, func(m *member) bool { return m.Cookie == cookie })
}

// settle returns when nothing is left in the sockets, or reports that a group has
// changed.
func (s *set) settle(ctx context.Context) (changed bool, err error) {
	now := context.WithoutCancel(ctx)
	var tcp []*group.Socket
	members := map[uint64]bool{}
	for _, p := range s.parts {
		for _, m := range p.own {
			if m.Protocol == unix.IPPROTO_TCP {
				tcp = append(tcp, m.Socket)
			}
		}
		for _, cookie := range p.group.All {
			members[cookie] = true
		}
	}
	handshakes, err := group.LookHandshakes(now, s.diag, tcp, func(cookie uint64) bool { return members[cookie] })
	if err != nil {
		return false, err
	}
	begin := time.Now()
	changed, err = s.wait(ctx, func() (left string, err error) {
		// Not by their number of retransmissions can dead clients be told from live
		// ones: the kernel counts its answers to a client's SYN that comes again,
		// too.
		if handshakes, err = handshakes.Pending(now, s.diag); err != nil || len(handshakes) == 0 {
			return "", err
		}
		answers := uint8(0)
		for _, h := range handshakes {
			answers = max(answers, h.Retransmits)
		}
		left = fmt.Sprintf("%d handshakes under way for %v or longer, one of them answered %d times",
			len(handshakes), time.Since(begin).Round(time.Millisecond), 1+int(answers))
		if queue, _ := s.queue(); queue != "" {
			left += ", " + queue
		}
		return left, nil
	})
	if err != nil || changed {
		return changed, err
	}
	// A connection leaves the handshakes before it is in the queue
	// (tcp_v4_syn_recv_sock, inet_csk_complete_hashdance).
	if err := group.Grace(now); err != nil {
		return false, err
	}
	return s.wait(ctx, s.queue)
}

// queue says what waits in the sockets.
func (s *set) queue() (left string, err error) {
	connections, readable := 0, 0
	for _, m := range s.members {
		if m.Protocol == unix.IPPROTO_TCP {
			n, err := m.Queue()
			if err != nil {
				return "", err
			}
			connections += n
			continue
		}
		has, err := m.Readable()
		if err != nil {
			return "", err
		}
		if has {
			readable++
		}
	}
	if connections > 0 {
		left = fmt.Sprintf("%d connections not accepted", connections)
	}
	if readable > 0 {
		left += fmt.Sprintf("%.*s%d sockets with unread datagrams", 2*len(left), ", ", readable)
	}
	return left, nil
}

// wait returns when nothing is left, or the groups change. Nothing tells either, so
// it looks, and spends a tenth of its time on that at most.
func (s *set) wait(ctx context.Context, left func() (string, error)) (changed bool, err error) {
	for delay := 250 * time.Microsecond; ; delay = min(2*delay, 5*time.Millisecond) {
		begin := time.Now()
		changed, err := s.changed(context.WithoutCancel(ctx))
		if err != nil || changed {
			return changed, err
		}
		what, err := left()
		if err != nil || what == "" {
			return false, err
		}
		if err := group.Sleep(ctx, max(delay, 10*time.Since(begin))); err != nil {
			return false, fmt.Errorf("%s: %w", what, err)
		}
	}
}
