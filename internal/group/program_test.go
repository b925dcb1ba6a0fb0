package group

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Ways in which the packets of clients differ.
var clients = map[string]func(i int) []byte{
	"IPv4 by port": func(i int) []byte { return packet4([4]byte{10, 0, 0, 7}, uint16(10000+i)) },
	"IPv4 by host": func(i int) []byte { return packet4([4]byte{10, 0, byte(i >> 8), byte(i)}, 4711) },
	"IPv6 by port": func(i int) []byte { return packet6([16]byte{0: 0x20, 15: 7}, uint16(10000+i)) },
	"IPv6 by host": func(i int) []byte { return packet6([16]byte{0: 0x20, 14: byte(i >> 8), 15: byte(i)}, 4711) },
	"IPv6 by network": func(i int) []byte {
		return packet6([16]byte{0: 0x20, 6: byte(i >> 8), 7: byte(i), 15: 1}, 4711)
	},
}

// choices returns how many of packets that differ in a way go to each slot.
func choices(t *testing.T, program []Instruction, packets int, packet func(i int) []byte) map[int]int {
	t.Helper()
	counts := map[int]int{}
	for i := range packets {
		slot, err := run(program, packet(i), 0)
		if err != nil {
			t.Fatal(err)
		}
		counts[int(slot)]++
	}
	return counts
}

// uneven returns an error unless the slots, and no others, got as even a share as
// chance gives: chi-squared is within five of its standard deviations.
func uneven(counts map[int]int, slots []int) error {
	packets, chi := 0, 0.0
	for slot, n := range counts {
		if packets += n; !slices.Contains(slots, slot) {
			return fmt.Errorf("slot %d got %d", slot, n)
		}
	}
	want := float64(packets) / float64(len(slots))
	for _, slot := range slots {
		d := float64(counts[slot]) - want
		chi += d * d / want
	}
	if free := float64(len(slots) - 1); chi > free+5*math.Sqrt(2*free) {
		return fmt.Errorf("chi-squared is %.0f, of %d slots", chi, len(slots))
	}
	return nil
}

// The members that are named get the same share, and the others nothing.
func TestAmong(t *testing.T) {
	const packets = 5000
	for _, slots := range [][]int{
		{0}, {3}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2, 3, 4}, {0, 1, 3, 4}, {6, 1, 2, 4, 5}, {5, 9, 10, 17, 900}, sequence(64, 1), sequence(32, 3),
	} {
		for name, packet := range clients {
			if err := uneven(choices(t, Among(slots), packets, packet), slots); err != nil {
				t.Errorf("%v, %s: %v", slots, name, err)
			}
		}
	}
	twice := choices(t, Among([]int{3, 3, 1, 3}), packets, clients["IPv4 by port"])
	if err := uneven(twice, []int{1, 3}); err != nil {
		t.Errorf("named more than once: %v", err)
	}
	// The controls: a slot that was not named, and a hash of the address alone.
	if uneven(choices(t, Among([]int{0, 1, 2}), packets, clients["IPv4 by port"]), []int{0, 1}) == nil {
		t.Error("slot 2 is not seen")
	}
	address := append([]Instruction{{Op: opLoadWord, K: offsetNet + 12}}, among(sequence(4, 1))...)
	if uneven(choices(t, address, packets, clients["IPv4 by port"]), sequence(4, 1)) == nil {
		t.Error("all ports at one slot count as even")
	}
}

// sequence returns n numbers with a step between them.
func sequence(n, step int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = step * i
	}
	return s
}

// All packets of a connection go to one slot, whatever else is in them.
func TestAmongFlow(t *testing.T) {
	program := Among(sequence(1000, 1))
	moved := 0
	for range 500 {
		source := [16]byte{}
		for i := range source {
			source[i] = byte(rand.Uint32())
		}
		port := uint16(rand.Uint32())
		for _, packet := range []func() []byte{
			func() []byte { return packet4([4]byte(source[:]), port) },
			func() []byte { return packet6(source, port) },
		} {
			first, err := run(program, packet(), 0)
			if err != nil {
				t.Fatal(err)
			}
			again := append(packet(), 1, 2, 3)
			again[1], again[4], again[5] = byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())
			if slot, err := run(program, again, 3); slot != first || err != nil {
				t.Errorf("% x: slot %d, then %d, %v", again, first, slot, err)
			}
			again[len(packet())-7]++ // another port
			if slot, _ := run(program, again, 0); slot != first {
				moved++
			}
			// Behind options, or extensions, the ports are not looked for.
			var slots [2]uint32
			for i := range slots {
				long := packet()
				if long[0] == 0x45 {
					long[0]++
				} else {
					long[6] = 0
				}
				long[len(long)-7] += byte(i)
				if slots[i], err = run(program, long, 0); err != nil {
					t.Fatal(err)
				}
			}
			if slots[0] != slots[1] {
				t.Errorf("% x: with options slot %d, then %d", packet(), slots[0], slots[1])
			}
		}
	}
	if moved < 900 {
		t.Errorf("the control: another port has another slot in %d of 1000", moved)
	}
}

// Of slots that are scattered over more than a program has room for, the first
// are chosen.
func TestAmongScattered(t *testing.T) {
	for _, program := range [][]Instruction{Among(scattered), Share(1, 100, scattered)} {
		if len(program) > MaxInstructions {
			t.Errorf("%d instructions", len(program))
		}
		counts := choices(t, program, 5000, clients["IPv4 by port"])
		if delete(counts, 1); len(counts) < 500 {
			t.Errorf("%d slots are chosen", len(counts))
		}
		last := slices.Max(slices.Collect(func(yield func(int) bool) {
			for slot := range counts {
				if !yield(slot) {
					return
				}
			}
		}))
		if err := uneven(counts, scattered[:last/2+1]); err != nil {
			t.Error(err)
		}
	}
}

var scattered = sequence(5000, 2)

// A slot gets its thousandths of all flows, and the others the rest.
func TestShare(t *testing.T) {
	const packets = 5000
	for _, share := range []int{0, 1, 10, 250, 500, 999, 1000} {
		for _, slots := range [][]int{{0}, {0, 1, 2}, {0, 1, 3}, {1, 2, 5, 6}} {
			for name, packet := range clients {
				const newcomer = 4
				counts := choices(t, Share(newcomer, share, slots), packets, packet)
				p := float64(share) / 1000
				if d := math.Abs(float64(counts[newcomer]) - p*packets); d > 5*math.Sqrt(packets*p*(1-p)) {
					t.Errorf("%d thousandths, %s: %d of %d", share, name, counts[newcomer], packets)
				}
				if delete(counts, newcomer); share == 1000 {
					if len(counts) > 0 {
						t.Errorf("all: %v besides", counts)
					}
				} else if err := uneven(counts, slots); err != nil {
					t.Errorf("%d thousandths, %v, %s: %v", share, slots, name, err)
				}
			}
		}
	}
}

// A translated program returns the slot of the index that it returned before.
func TestTranslate(t *testing.T) {
	constant := func(k uint32) []Instruction { return []Instruction{{Op: opReturn, K: k}} }
	for name, program := range map[string][]Instruction{
		"ret #0": constant(0), "ret #4": constant(4), "ret #5": constant(5),
		"among": Among(sequence(5, 1)), "share": Share(3, 300, []int{0, 1, 2, 4}), "out of range": Among(sequence(9, 1)),
		"by CPU": ByCPU(7),
		"two returns": {
			{Op: opLoadWord, K: offsetCPU}, {Op: opIfAtLeast, K: 3, Jt: 1}, {Op: opReturnA}, {Op: opReturn, K: 1},
		},
	} {
		for _, slots := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {1, 2, 3, 4, 0}, {0, 2, 1, 3, 4}, rand.Perm(5)} {
			translated := Translate(program, slots)
			moved := false
			for i := range 500 {
				packet, cpu := packet4([4]byte{10, 0, 0, 1}, uint16(i)), uint32(i)
				index, err := run(program, packet, cpu)
				if err != nil {
					t.Fatal(err)
				}
				want := index
				if index < uint32(len(slots)) {
					want = uint32(slots[index])
				}
				if got, err := run(translated, packet, cpu); got != want || err != nil {
					t.Fatalf("%s, %v: index %d became %d, %v", name, slots, index, got, err)
				}
				moved = moved || want != index
			}
			if slices.IsSorted(slots) && !slices.Equal(translated, program) {
				t.Errorf("%s: another program for the same order", name)
			}
			if name == "among" && moved == slices.IsSorted(slots) {
				t.Errorf("the control: %v moved %v", slots, moved)
			}
		}
	}
}

func TestByCPU(t *testing.T) {
	for n := 1; n < 9; n++ {
		for cpu := range uint32(20) {
			if slot, err := run(ByCPU(n), nil, cpu); slot != cpu%uint32(n) || err != nil {
				t.Errorf("CPU %d of %d slots: %d, %v", cpu, n, slot, err)
			}
		}
	}
}
