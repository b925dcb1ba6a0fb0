package group

import (
	"math/bits"
	"math/rand/v2"
	"slices"
)

const (
	// rounds of probes tell the slots. In half of them a slot gets one.
	rounds = 32
	// tolerance is in how many rounds what a socket sees may not be what its slot
	// got: one probe may be late, or another packet dropped.
	tolerance = 2
	// most is how many slots there can be. A code keeps less than 15,000 of the
	// 6e8 that there are from the others, so there are always some left.
	most = 1 << 14
)

// codes returns in which rounds each of n slots gets a probe, a bit for each. They
// are random, so that nothing else follows one of them, and any two differ in so
// many rounds that what is within the tolerance of one is not of another. n is most
// at most.
func codes(n int) []uint32 {
	codes := make([]uint32, 0, n)
	for len(codes) < n {
		var code uint32
		for _, round := range rand.Perm(rounds)[:rounds/2] {
			code |= 1 << round
		}
		if !slices.ContainsFunc(codes, func(c uint32) bool { return distance(c, code) <= 2*tolerance }) {
			codes = append(codes, code)
		}
	}
	return codes
}

// decode returns the slots of sockets that saw probes in those rounds, and false
// unless each has one of its own.
//
// Where no probe arrives, and every second round sees another drop by chance, a
// socket passes with a probability of 1.2e-7 for each slot that there is.
func decode(codes, seen []uint32) (slots []int, ok bool) {
	for _, s := range seen {
		slot := slices.IndexFunc(codes, func(c uint32) bool { return distance(c, s) <= tolerance })
		if slot < 0 || slices.Contains(slots, slot) {
			return nil, false
		}
		slots = append(slots, slot)
	}
	return slots, true
}

func distance(a, b uint32) int { return bits.OnesCount32(a ^ b) }
