package handover_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
)

// A newcomer gets the share that Hold leaves it, until Drain gives it all, or Resume
// what it would have. By any means it joins: with this package, or without.
func TestHold(t *testing.T) {
	testnet.Parallel(t)
	for _, flags := range [][]string{nil, {"-plain"}} {
		t.Run(fmt.Sprint("serve ", flags), func(t *testing.T) {
			testnet.Namespace(t)
			old, m, _ := startAdopted(t, "tcp")
			if err := m.Hold(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			next := start(t, os.Getuid(), "serve", flags...)
			if got := shares(t, addr); got[old.pid()] != 200 {
				t.Errorf("held, %v answer", got)
			}
			for _, share := range []float64{0.1, 0.5, 1, 0} {
				if err := m.Hold(t.Context(), share); err != nil {
					t.Fatal(err)
				}
				n := 2000
				if share == 0 || share == 1 || flags != nil {
					n = 100
				}
				want, got := float64(n)*share, float64(sharesOf(t, addr, n)[next.pid()])
				if off := 6 * math.Sqrt(want*(1-share)); math.Abs(got-want) > off {
					t.Errorf("share %v: %v of %d, want %v ± %.0f", share, got, n, want, off)
				}
			}
			if err := m.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := shares(t, addr); got[next.pid()] != 200 {
				t.Errorf("drained, %v answer", got)
			}
			if err := m.Hold(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "resume") {
				t.Errorf("Hold of what is drained: %v", err)
			}
			if err := m.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := shares(t, addr); got[old.pid()] < 40 || got[next.pid()] < 40 {
				t.Errorf("control: resumed, of 200 %v", got)
			}
		})
	}
}

// What Hold cannot do it says, and what it did before lasts.
func TestHoldErrors(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	old, m, _ := startAdopted(t, "tcp")
	second := start(t, os.Getuid(), "serve")
	for _, share := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if err := m.Hold(t.Context(), share); err == nil {
			t.Errorf("a share of %v: nil", share)
		}
	}
	if err := m.Hold(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	next := start(t, os.Getuid(), "serve")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Hold(ended, 0.5); !errors.Is(err, context.Canceled) {
		t.Errorf("its context has ended: %v", err)
	}
	if got := shares(t, addr); got[old.pid()] < 40 || got[second.pid()] < 40 || got[next.pid()] > 0 {
		t.Errorf("held, of 200 %v", got)
	}
	second.Stop(t) // the kernel moves the newcomer into its place
	if err := m.Hold(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "has left") {
		t.Errorf("after one has left: %v", err)
	}
	if err := m.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Hold(t.Context(), 0); err != nil { // both that are there
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	third := start(t, os.Getuid(), "serve")
	if got := shares(t, addr); got[old.pid()] < 30 || got[next.pid()] < 30 || got[third.pid()] < 30 {
		t.Errorf("control: after Close of 200 %v", got)
	}
}

// A newcomer that is held back crashes, and nothing is lost.
func TestHeldCrashes(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	_, m, _ := startAdopted(t, "tcp")
	lossless(t, func(hold bool) (lost int) {
		clients := start(t, os.Getuid(), "load", "-n", "16")
		for range times(3) {
			if hold {
				if err := m.Hold(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
			}
			next := start(t, os.Getuid(), "serve")
			sharesOf(t, addr, 20)
			next.Stop(t)
			if err := m.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_, lost, _ = clients.counts(t)
		return lost
	})
}

// The old server is killed while newcomers are held back: what it would get waits in
// the copy of its socket, until that is closed.
func TestHeldKilled(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	old, m, own := startAdopted(t, "tcp")
	if err := m.Hold(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	next := start(t, os.Getuid(), "serve")
	old.Stop(t)
	if pid := ask1(addr, testnet.Slow(20*time.Millisecond)); pid != 0 {
		t.Errorf("control: %d answers", pid)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	own.Close()
	if got := sharesOf(t, addr, 100); got[next.pid()] != 100 {
		t.Errorf("%v answer", got)
	}
	next.replaceBy(t, "Listen", start(t, os.Getuid(), "serve"))
}
