package group

import (
	"math/rand/v2"
	"slices"
	"testing"

	"example.com/reuse/internal/testnet"
)

// Thousands of random joins and leaves: the slots are those to which the kernel
// sends connections and datagrams.
func TestSlotsKernel(t *testing.T) {
	steps := rounds(3000)
	for _, place := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:9999"}, {"udp4", "127.0.0.1:9999"}, {"tcp6", "[::1]:9999"}, {"udp6", "[::1]:9999"},
	} {
		t.Run(place.network, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			random := rand.New(rand.NewPCG(3, 4))
			var members []*member // by age
			moved := 0
			for step := range steps {
				if len(members) < 2 || len(members) < 6 && random.IntN(2) == 0 {
					members = append(members, open(t, place.network, place.address))
				} else {
					i := random.IntN(len(members))
					members[i].close()
					members = slices.Delete(members, i, i+1)
				}
				m := members[random.IntN(len(members))]
				slots, err := m.slots(t, diag)
				if err != nil {
					t.Fatalf("step %d, %d members: %v", step, len(members), err)
				}
				if !slices.Equal(slots, cookies(members)) {
					moved++
				}
				slot := slices.Index(slots, m.Cookie)
				chosen(t, m, members, Among([]int{slot}))
				if len(members) > 1 {
					others := slices.Delete(sequence(len(members), 1), slot, slot+1)
					if got, err := lands(m, members, Among(others)); err != nil || got == m {
						t.Fatalf("step %d, not slot %d of %d: %v, %v", step, slot, len(members), got == m, err)
					}
				}
			}
			if moved < steps/10 {
				t.Errorf("the control: only %d of %d times not by age", moved, steps)
			}
		})
	}
}

// right fails the test unless each member is in the slot that slots says, and has
// only one.
func right(t *testing.T, m *member, members []*member, slots []uint64) {
	t.Helper()
	found := 0
	for slot, cookie := range slots {
		if cookie == 0 {
			continue
		}
		i := slices.IndexFunc(members, func(m *member) bool { return m.Cookie == cookie })
		if i < 0 || slices.Contains(slots[:slot], cookie) {
			t.Fatalf("%v: slots %v of members %v", m.Key, slots, cookies(members))
		}
		found++
		got, err := lands(m, members, Among([]int{slot}))
		if err != nil {
			t.Fatalf("%v: slot %d of %v: %v", m.Key, slot, slots, err)
		}
		if got != members[i] {
			t.Fatalf("%v: slot %d of %v: %v is chosen", m.Key, slot, slots, got.Cookie)
		}
	}
	if found != len(members) {
		t.Fatalf("%v: slots %v of members %v", m.Key, slots, cookies(members))
	}
}
