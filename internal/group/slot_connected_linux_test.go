package group

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// Of every array of up to six sockets, connected ones among them, that are passed
// over, the slots are right or unknown.
func TestBySlot(t *testing.T) {
	known, unknown, careless := 0, 0, 0
	for size := 1; size <= 6; size++ {
		for bits := range 1 << size {
			array := make([]uint64, size) // 0 is a connected socket
			m := Members{}
			for i := range array {
				if bits&(1<<i) == 0 {
					m.Connected++
					continue
				}
				array[i] = uint64(100 + i)
				m.All = append(m.All, array[i])
			}
			if len(m.All) == 0 {
				continue
			}
			// receiver returns whom the kernel finds by a hash.
			receiver := func(hash float64) uint64 {
				i := int(hash * float64(size))
				for array[i] == 0 {
					i = (i + 1) % size
				}
				return array[i]
			}
			find := func(n, often int) ([]uint64, error) {
				hash := func(port uint16) float64 { return float64(port) / (1 << 16) }
				return compare(n, often, n*(64+8*often), func() (int, uint16, error) {
					port := uint16(rand.IntN(1 << 16))
					return int(hash(port) * float64(n)), port, nil
				}, func(port uint16) (uint64, error) { return receiver(hash(port)), nil })
			}
			slots, err := m.bySlot(func(n int) ([]uint64, error) { return find(n, m.often(n)) })
			switch {
			case err == nil:
				known++
				if !slices.Equal(slots, array) {
					t.Errorf("%v, want %v", slots, array)
				}
			case errors.Is(err, errInconsistent):
				unknown++
			default:
				t.Error(err)
			}
			if m.Connected == 0 && err != nil {
				t.Errorf("%v: %v", array, err)
			}
			// The control takes the first number of slots that fits.
			found, err := find(len(m.All), 100)
			if err == nil {
				if slots, err := m.owners(found); err == nil && !slices.Equal(slots, array) {
					careless++
				}
			}
		}
	}
	t.Logf("%d arrays known, %d unknown; the control is wrong of %d", known, unknown, careless)
	if careless == 0 || known < unknown {
		t.Errorf("%d known, %d unknown, the control wrong of %d", known, unknown, careless)
	}
}
