package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// results are the values of a benchmark's units, one of each round:
// results["BenchmarkListen/net"]["ns/op"].
type results map[string]map[string][]float64

// procs is the suffix that package testing adds to names.
var procs = regexp.MustCompile(`-\d+$`)

// add adds the lines that a test binary has printed.
func (r results) add(output string) error {
	found := false
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") || len(fields)%2 != 0 {
			continue
		}
		name := procs.ReplaceAllString(fields[0], "")
		if r[name] == nil {
			r[name] = map[string][]float64{}
		}
		for i := 2; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			r[name][fields[i+1]] = append(r[name][fields[i+1]], value)
		}
		found = true
	}
	if !found {
		return fmt.Errorf("no results in %q", output)
	}
	return nil
}

// A value is the median over the rounds, and the quartiles.
type value struct{ q1, median, q3 float64 }

// get returns a benchmark's value of a unit.
func (r results) get(name, unit string) (value, bool) {
	values := slices.Sorted(slices.Values(r[name][unit]))
	if len(values) == 0 {
		return value{}, false
	}
	at := func(q float64) float64 { return values[int(q*float64(len(values)-1)+0.5)] }
	return value{at(0.25), at(0.5), at(0.75)}, true
}

// pairs returns the value of a quotient that was measured in pairs: its quartiles
// are those within a run, which are wider than those over the rounds.
func (r results) pairs(name, unit string) (value, bool) {
	v, ok := r.get(name, unit)
	if q1, has := r.get(name, "q1-"+unit); has {
		v.q1 = q1.median
	}
	if q3, has := r.get(name, "q3-"+unit); has {
		v.q3 = q3.median
	}
	return v, ok
}

// noisy reports whether the quartiles are so far apart that a median says little.
func (v value) noisy() bool { return v.q3-v.q1 > 0.5*v.median }

// String returns the median and the quartiles. What the noise hides has no
// median.
func (v value) String() string {
	if v.noisy() {
		return fmt.Sprintf("noise (%.3g to %.3g)", v.q1, v.q3)
	}
	if v.q1 == v.q3 {
		return fmt.Sprintf("%.4g", v.median)
	}
	return fmt.Sprintf("%.3g (%.3g to %.3g)", v.median, v.q1, v.q3)
}

// cell returns what stands in a table.
func cell(v value, ok bool) string {
	if !ok {
		return ""
	}
	return v.String()
}

// count is a value that does not vary, or its range.
func count(v value, ok bool) string {
	switch {
	case !ok:
		return ""
	case v.q1 == v.q3:
		return fmt.Sprintf("%.0f", v.median)
	}
	return fmt.Sprintf("%.0f to %.0f", v.q1, v.q3)
}

// below returns the names of sub-benchmarks of name, in the order of order first.
func (r results) below(name string, order ...string) (names []string) {
	for sub := range r {
		if rest, ok := strings.CutPrefix(sub, name+"/"); ok && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	rank := func(s string) int {
		if i := slices.Index(order, s); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return names
}
