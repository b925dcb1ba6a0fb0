package group

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

var places = []struct{ network, address string }{
	{"tcp4", "127.0.0.1:9999"},
	{"tcp4", "0.0.0.0:9999"},
	{"tcp6", "[::1]:9999"},
	{"tcp6", "[::]:9999"},
	{"tcp", ":9999"},
	{"udp4", "127.0.0.1:9999"},
	{"udp4", "0.0.0.0:9999"},
	{"udp6", "[::1]:9999"},
	{"udp6", "[::]:9999"},
	{"udp", ":9999"},
}

// The slots that are learnt are those of an array that follows joins and leaves,
// at each kind of address, whatever program the group has.
func TestSlots(t *testing.T) {
	steps := rounds(300)
	for _, place := range places {
		t.Run(place.network+" "+place.address, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			var array []*member
			for step := range steps {
				if n := len(array); n < 2 || n < 10 && rand.IntN(2) == 0 {
					array = append(array, open(t, place.network, place.address))
				} else {
					i := rand.IntN(n)
					array[i].close()
					array[i] = array[n-1]
					array = array[:n-1]
				}
				if len(array) > 1 {
					if err := array[0].Attach(Among([]int{0})); err != nil {
						t.Fatal(err)
					}
				}
				m := array[rand.IntN(len(array))]
				slots, err := m.slots(t, diag)
				if err != nil {
					t.Fatalf("step %d, %d members: %v", step, len(array), err)
				}
				if want := cookies(array); !slices.Equal(slots, want) {
					t.Fatalf("step %d: %v, want %v", step, slots, want)
				}
				if place.network != "tcp6" || len(array) == 1 || step%4 > 0 {
					continue
				}
				slots, err = m.slotsByOneMore(t.Context(), diag, m.members(t, diag), m.ways()[0])
				if want := cookies(array); err != nil || !slices.Equal(slots, want) {
					t.Fatalf("step %d, by one more: %v, %v, want %v", step, slots, err, want)
				}
			}
		})
	}
}

// What a socket remembers tells the slots of up to 15 members. Where the kernel's
// hash takes all of an address, so that there are no twins, it tells nothing.
func TestRemember(t *testing.T) {
	for _, place := range places {
		t.Run(place.network+" "+place.address, func(t *testing.T) {
			silent := place.network == "tcp6" && !twins(t, place.network, place.address)
			testnet.Namespace(t)
			diag := diagConn(t)
			array := []*member{open(t, place.network, place.address)}
			first := array[0]
			if err := first.Remember(t.Context(), diag); err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{2, 3, 5, 8, 13, 15} {
				array = append(array, group(t, n-len(array), place.network, place.address)...)
				slots, err := first.memory.slots(t.Context(), diag, first.members(t, diag))
				if want := cookies(array); (err == nil) == silent || err == nil && !slices.Equal(slots, want) {
					t.Fatalf("%d members: %v, %v, want %v", len(array), slots, err, want)
				}
			}
		})
	}
}

// A process that has given up its privileges learns slots by what it remembers.
func TestRememberPrivileges(t *testing.T) {
	testnet.NeedRoot(t)
	for _, place := range places {
		if place.network == "tcp6" && !twins(t, place.network, place.address) {
			continue
		}
		testnet.Namespace(t)
		diag := diagConn(t)
		array := reordered(t, 4, place.network, strings.Replace(place.address, "9999", "80", 1))
		if err := array[0].Remember(t.Context(), diag); err != nil {
			t.Fatal(err)
		}
		restore, err := without(unix.CAP_NET_BIND_SERVICE)
		if err != nil {
			t.Fatal(err)
		}
		if slots, err := array[0].slots(t, diag); err != nil || !slices.Equal(slots, cookies(array)) {
			t.Errorf("%v: %v, %v, want %v", place, slots, err, cookies(array))
		}
		if slots, err := array[1].slots(t, diag); !errors.Is(err, unix.EACCES) {
			t.Errorf("%v: the control, without a memory: %v, %v, want EACCES", place, slots, err)
		}
		if err := restore(); err != nil {
			t.Fatal(err)
		}
		closeAll(array)
	}
}
