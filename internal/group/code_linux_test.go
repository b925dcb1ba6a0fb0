package group

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// What is seen in up to two rounds otherwise than sent is decoded, and nothing
// else is: not silence, drops in each round, three mistakes, or two sockets at one
// slot.
func TestCodes(t *testing.T) {
	for _, n := range []int{2, 3, 7, 64, 1024} {
		codes := codes(n)
		want := rand.Perm(n)[:max(n/2, 2)]
		sent := make([]uint32, len(want))
		for i, slot := range want {
			sent[i] = codes[slot]
			if bits.OnesCount32(sent[i]) != rounds/2 {
				t.Fatalf("%d: slot %d gets probes in %b", n, slot, sent[i])
			}
		}
		with := func(seen ...uint32) []uint32 { return append(slices.Clone(sent[:len(sent)-len(seen)]), seen...) }
		last := sent[len(sent)-1]
		for _, mistakes := range []uint32{0, 1, 1 << 31, 1<<31 | 1, 3 << 8} {
			if got, ok := decode(codes, with(last^mistakes)); !ok || !slices.Equal(got, want) {
				t.Errorf("%d, mistakes %b: %v, %v, want %v", n, mistakes, got, ok, want)
			}
		}
		for _, seen := range [][]uint32{{0}, {^uint32(0)}, {last ^ 7}, {last, last}} {
			if got, ok := decode(codes, with(seen...)); ok {
				t.Errorf("%d, %b was seen: %v", n, seen, got)
			}
		}
	}
}
