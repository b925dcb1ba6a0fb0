package group

import "slices"

// A Slot follows a member's index in its group by the sets of members that are
// observed. Sockets are told apart by their cookies.
//
// The zero Slot is unknown, and becomes known when the member is seen alone.
type Slot struct {
	self    uint64
	members []uint64 // of the last observation
	index   int
	known   bool
}

// Born returns the slot of self, whose group had the members before when it
// joined. They need no order.
//
// Members that come and go unseen between the observation and the join change
// nothing: if one of them is before self when it leaves, self, or somebody
// behind it who leaves too, moves into its place.
func Born(self uint64, before []uint64) Slot {
	return Slot{self: self, members: append(slices.Clone(before), self), index: len(before), known: true}
}

// Unknown returns the slot of a member of which nothing is known yet.
func Unknown(self uint64) Slot { return Slot{self: self} }

// Index returns the slot, and false if it is unknown.
func (s *Slot) Index() (index int, known bool) { return s.index, s.known }

// Alone reports whether the member was alone in the last observation.
func (s *Slot) Alone() bool { return len(s.members) == 1 }

// Forget makes the slot unknown.
func (s *Slot) Forget() { s.known = false }

// Set says what the slot is among members, by other knowledge.
func (s *Slot) Set(index int, members []uint64) {
	s.index, s.known, s.members = index, true, slices.Clone(members)
}

// Observe takes the members of the group as they are now, self included, in any
// order. A slot that could have become another since the last observation is
// unknown from then on.
//
// A member moves only if it is the last one, while somebody before it leaves.
// Each leave takes at most one of those behind: the one that leaves, or the last
// one, which moves to the front. Who came and went unseen takes away no more
// than it brought. So the slot is the same as before if at least as many were
// behind it as left; and slot 0 always is.
func (s *Slot) Observe(members []uint64) {
	before := s.members
	s.members = slices.Clone(members)
	if len(members) == 1 {
		s.index, s.known = 0, true
	}
	if !s.known || s.index == 0 {
		return
	}
	left := 0
	for _, m := range before {
		if !slices.Contains(members, m) {
			left++
		}
	}
	s.known = len(before)-1-s.index >= left
}
