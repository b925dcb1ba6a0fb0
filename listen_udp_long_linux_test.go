//go:build linux && long

package reuse_test

import (
	"testing"

	"example.com/reuse"
)

// At length: of two starters over somebody's socket one gets the port. Without the
// lock both do now and then, in the control.
func TestManyStartersUDP(t *testing.T) {
	if goesByBind(t) {
		t.Skip("needs a kernel that goes by the options that sockets have now")
	}
	const rounds = 2000
	address := holdUDP(t, "127.0.0.1:0").LocalAddr().String()
	for _, test := range []struct {
		name            string
		start, unlocked func() int
	}{
		{"goroutines",
			func() int { return winners(t, reuse.ListenPacket, address) },
			func() int { return winners(t, sealing, address) }},
		{"processes", twoStarters(t, address, ""), twoStarters(t, address, "unlocked")},
	} {
		both := 0
		for range rounds {
			if won := test.start(); won != 1 {
				t.Fatalf("%s: %d of 2 starters got the port", test.name, won)
			}
			if test.unlocked() == 2 {
				both++
			}
		}
		t.Logf("%s: without the lock both got the port in %d of %d rounds", test.name, both, rounds)
		if both == 0 {
			t.Errorf("%s: the control excludes the second, too", test.name)
		}
	}
}
