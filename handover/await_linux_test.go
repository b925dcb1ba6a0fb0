package handover_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/reuse/handover"
)

// A successor that is bound is waited for, until it listens or gives up.
func TestDrainAwaits(t *testing.T) {
	needDrain(t)
	for _, place := range []struct{ network, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", ":0"}} {
		old := listenEarly(t, place.network, place.address)
		open := func() *handover.Listener {
			ln, err := handover.Listen(place.network, old.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			return ln
		}
		next := open()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := old.Drain(ctx); !errors.Is(err, handover.ErrNoSuccessor) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v: a successor that does not accept: %v", place, err)
		}
		drained := make(chan error, 1)
		go func() { drained <- old.Drain(t.Context()) }()
		next.Close()
		if err := <-drained; !errors.Is(err, handover.ErrNoSuccessor) {
			t.Fatalf("%v: a successor that gives up: %v", place, err)
		}
		next = open()
		go func() { drained <- old.Drain(t.Context()) }()
		go next.Accept()
		if err := <-drained; err != nil {
			t.Fatalf("%v: %v", place, err)
		}
		old.Close()
	}
}
