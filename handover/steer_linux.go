package handover

import (
	"context"
	"errors"
	"fmt"

	"example.com/reuse/internal/group"
	"golang.org/x/sys/unix"
)

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
	s.steered = true
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
		s.undo = append(s.undo, func(*set) error {
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
	own := map[uint64]bool{0: true} // and not those of connected sockets
	for _, m := range p.own {
		own[m.Cookie] = true
	}
	var slots []int
	for slot, cookie := range p.slots {
		if !own[cookie] {
			slots = append(slots, slot)
		}
	}
	return slots
}
