package handover_test

import (
	"fmt"
	"testing"

	"example.com/reuse/handover"
)

// As many listeners of one port as the successor has are drained and closed.
func BenchmarkDrainClose(b *testing.B) {
	for _, n := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				address := "127.0.0.1:0"
				var old, next []handover.Drainable
				for i := range 2 * n {
					ln := listenEarly(b, "tcp4", address)
					address = ln.Addr().String()
					if i < n {
						old = append(old, ln)
					} else {
						next = append(next, ln)
					}
				}
				b.StartTimer()
				if err := handover.DrainAll(b.Context(), old...); err != nil {
					b.Fatal(err)
				}
				for _, ln := range old {
					if err := ln.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				for _, ln := range next {
					ln.Close()
				}
				b.StartTimer()
			}
		})
	}
}
