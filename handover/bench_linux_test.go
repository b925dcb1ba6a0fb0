package handover_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/reuse/handover"
)

// As many listeners as there are old ones replace them: DrainAll, and Close of all.
func BenchmarkDrainClose(b *testing.B) {
	needDrain(b)
	for _, n := range []int{64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			old, address := openMany(b, n, "127.0.0.1:0")
			for b.Loop() {
				b.StopTimer()
				next, _ := openMany(b, n, address)
				b.StartTimer()
				begin := time.Now()
				if err := handover.DrainAll(b.Context(), old...); err != nil {
					b.Fatal(err)
				}
				drained := time.Now()
				for _, ln := range old {
					if err := ln.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(drained.Sub(begin).Milliseconds()), "drain-ms")
				b.ReportMetric(float64(time.Since(drained).Milliseconds()), "close-ms")
				old = next
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
		})
	}
}

// openMany opens n listeners on one port.
func openMany(t testing.TB, n int, address string) (lns []handover.Drainable, at string) {
	t.Helper()
	for range n {
		ln := listenEarly(t, "tcp4", address)
		address = ln.Addr().String()
		lns = append(lns, ln)
	}
	return lns, address
}
