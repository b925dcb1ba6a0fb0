package main

import (
	"strings"
	"testing"
)

const output = `goos: linux
BenchmarkAccept/net-2     15   20342 cpu-ns/accept   0.95 q1-times-net   1.03 q3-times-net   1.00 times-net
BenchmarkAccept/Addr-2    15   11183 cpu-ns/accept   0.55 q1-times-net   0.63 q3-times-net   0.60 times-net
BenchmarkAccept/wild-2    15   11183 cpu-ns/accept   0.30 q1-times-net   1.63 q3-times-net   0.60 times-net
PASS
`

// What the benchmarks print stands in the document, unless the noise hides it.
func TestDocument(t *testing.T) {
	r := results{}
	for range 3 {
		if err := r.add(output); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.add("PASS\n"); err == nil {
		t.Error("no results are no error")
	}
	if err := r.add("BenchmarkX-2 1 x ns/op\n"); err == nil {
		t.Error("what is no number is no error")
	}
	text, plots := document(r, &host{}, 3)
	for _, want := range []string{
		"| net |  | 20.34 | 1 (0.95 to 1.03) |",
		"| Addr |  | 11.18 | 0.6 (0.55 to 0.63) |",
		"| wild |  | 11.18 | noise (0.3 to 1.63) |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	svg := plots["accept.svg"]
	if !strings.Contains(svg, ">Addr<") || strings.Contains(svg, ">wild<") {
		t.Errorf("the plot shows other bars:\n%s", svg)
	}
}
