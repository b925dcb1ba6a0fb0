package bench_test

import (
	"errors"
	"testing"

	"example.com/reuse/internal/testnet"
)

func BenchmarkListen(b *testing.B) {
	for _, o := range listens() {
		b.Run(o.name, o.benchmark)
	}
}

func BenchmarkListenPacket(b *testing.B) {
	for _, o := range listenPackets() {
		b.Run(o.name, o.benchmark)
	}
}

func (o operation) benchmark(b *testing.B) {
	testnet.Namespace(b)
	counts, countErr := countSystemCalls(o)
	if errors.Is(countErr, errNoStrace) {
		b.Log(countErr)
	} else if countErr != nil {
		b.Fatal(countErr)
	}
	stop, err := o.start()
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	b.ReportAllocs()
	for b.Loop() {
		if err := o.run(); err != nil {
			b.Fatal(err)
		}
	}
	if countErr == nil {
		b.ReportMetric(float64(counts.total())/tracedRuns, "syscalls/op")
	}
}
