package group

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// An array is the kernel's.
type array []uint64

func (a array) join(m uint64) array { return append(a, m) }

func (a array) leave(i int) array {
	a[i] = a[len(a)-1]
	return a[:len(a)-1]
}

// The model is compared with an array through random joins and leaves, of which
// some are observed, and some observed late. It may say unknown, and must never be
// wrong.
func TestSlot(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	observations, known, controls := 0, 0, 0
	for range 20000 {
		var members array
		next := uint64(1)
		join := func() {
			members = members.join(next)
			next++
		}
		for range random.IntN(5) {
			join()
		}
		before := slices.Clone(members)
		random.Shuffle(len(before), func(i, j int) { before[i], before[j] = before[j], before[i] })
		self := next
		join()
		slot := Born(self, before)
		naive := len(before) // never moves
		var past []array
		for range random.IntN(20) {
			for range random.IntN(4) {
				if i := random.IntN(len(members)); random.IntN(2) == 0 && len(members) < 8 {
					join()
				} else if members[i] != self {
					members = members.leave(i)
				}
			}
			seen := slices.Clone(members)
			random.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
			if len(past) > 0 && random.IntN(4) == 0 {
				slot.Observe(past[random.IntN(len(past))])
			}
			past = append(past, seen)
			slot.Observe(seen)
			observations++
			want := slices.Index(members, self)
			if naive != want {
				controls++
			}
			if index, ok := slot.Index(); ok {
				if known++; index != want {
					t.Fatalf("slot %d, want %d of %d", index, want, len(members))
				}
			}
		}
	}
	t.Logf("%d observations, slot known at %d; it had moved at %d", observations, known, controls)
	if known < observations/3 || controls == 0 {
		t.Error("the model hardly ever knows the slot, or it never moved")
	}
}

// What the model claims not to know can really be different slots: the two
// orders of one pair of events.
func TestSlotUnknown(t *testing.T) {
	first := array{1, 2}.join(3).leave(0)  // join, then leave
	second := array{1, 2}.leave(0).join(3) // leave, then join
	if slices.Index(first, 2) == slices.Index(second, 2) {
		t.Fatal("the order does not matter")
	}
	slot := Born(2, []uint64{1})
	slot.Observe(first)
	if index, known := slot.Index(); known {
		t.Errorf("slot %d", index)
	}
	slot.Observe([]uint64{2})
	if index, known := slot.Index(); !known || index != 0 || !slot.Alone() {
		t.Errorf("alone: slot %d, %v", index, known)
	}
}
