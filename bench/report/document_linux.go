package main

import (
	"fmt"
	"slices"
	"strings"
)

// ways is the order of the rows.
var ways = []string{"C", "net", "Control", "Addr", "Addr-taken", "Port", "handover", "libp2p", "kavu", "fasthttp"}

// document returns performance.md and its plots.
func document(r results, m *host, rounds int) (text string, plots map[string]string) {
	var b strings.Builder
	plots = map[string]string{}
	fmt.Fprintf(&b, `# What was measured

Written by bench/report. %v

All benchmarks ran %d times, one after the other in each round. A number is the
median over the rounds, with the quartiles in parentheses where they differ. What
is a multiple of something was measured in pairs, the two in turn, and its
quartiles are those of the pairs. Where they are further apart than half the
median, the table says noise.

    cd bench && go run ./report

*net* is package net, *Control* the hook of the tutorials, *C* the system calls
alone. libp2p is github.com/libp2p/go-reuseport, kavu github.com/kavu/go_reuseport,
fasthttp github.com/valyala/fasthttp/reuseport.
`, m, rounds)

	section := func(format string, args ...any) { fmt.Fprintf(&b, "\n"+format+"\n", args...) }
	section("## Listen and Close\n\nSystem calls and allocations are exact.\n")
	for _, kind := range []struct{ name, benchmark string }{{"TCP", "BenchmarkListen"}, {"UDP", "BenchmarkListenPacket"}} {
		rows := [][]string{{kind.name, "system calls", "allocations", "bytes", "µs"}}
		for _, way := range r.below(kind.benchmark, ways...) {
			name := kind.benchmark + "/" + way
			t, ok := r.get(name, "ns/op")
			rows = append(rows, []string{way, count(r.get(name, "syscalls/op")), count(r.get(name, "allocs/op")),
				count(r.get(name, "B/op")), cell(t.times(1e-3), ok)})
		}
		b.WriteString(table(rows) + "\n")
	}

	section("## Over the connections of a former run\n\nHow many times longer Listen and Close take than on a port without any.\n")
	rows := [][]string{{""}}
	states := r.states("BenchmarkLeftovers")
	for _, state := range states {
		rows[0] = append(rows[0], strings.Replace(state, "=", ", ", 1))
	}
	if len(states) > 0 {
		for _, way := range r.below("BenchmarkLeftovers/"+states[0], ways...) {
			row := []string{way}
			for _, state := range states {
				row = append(row, cell(r.pairs("BenchmarkLeftovers/"+state+"/"+way, "times-none")))
			}
			rows = append(rows, row)
		}
		b.WriteString(table(rows))
		worst := "BenchmarkLeftovers/" + states[slices.IndexFunc(states, func(s string) bool { return strings.HasPrefix(s, "ESTABLISHED=9") })]
		plots["leftovers.svg"] = plot("Listen over 9,000 established connections, as a multiple of none",
			r.bars(worst, "times-none"), 1, true)
		b.WriteString("\n![Cost of Listen over leftovers](leftovers.svg)\n")
	}

	section("## Accept\n\nCalls of setsockopt per connection, and the CPU time of Accept from a queue of 1,000.\n")
	rows = [][]string{{"", "setsockopt", "µs", "of net.Listen's"}}
	for _, way := range r.below("BenchmarkAccept", ways...) {
		name := "BenchmarkAccept/" + way
		t, ok := r.get(name, "cpu-ns/accept")
		rows = append(rows, []string{way, count(r.get(name, "setsockopt/accept")), cell(t.times(1e-3), ok), cell(r.pairs(name, "times-net"))})
	}
	b.WriteString(table(rows))
	plots["accept.svg"] = plot("CPU of Accept, as a part of net.Listen's", r.bars("BenchmarkAccept", "times-net"), 1, false)
	b.WriteString("\n![CPU of Accept](accept.svg)\n")

	section("## Steering\n\nThe CPU time to send a datagram to a shard on loopback and to read it, as a multiple\n" +
		"of that without a program. *hash* is the control, two shards without. Every datagram comes to the socket of its CPU (`TestByCPU`).\n")
	rows = [][]string{{"", "multiple"}}
	for _, way := range r.below("BenchmarkSteer", "hash", "ByCPU") {
		rows = append(rows, []string{way, cell(r.pairs("BenchmarkSteer/"+way, "times-hash"))})
	}
	b.WriteString(table(rows))

	section("## Balance\n\nOf 20,000 connections to 8 listeners, the most that one got divided by the least: %s.",
		cell(r.get("BenchmarkBalance", "max/min")))

	section("## When not to shard\n\nEight workers serve one connection at a time. One in ten takes ten times as long as\n" +
		"the others; clients come at random, at 70%% of what the workers can bear. The time\n" +
		"until 99 of 100 are answered, as a multiple of that with one queue for all:\n")
	rows = [][]string{{"", "multiple"}, {"one listener, again", cell(r.pairs("BenchmarkQueues/shared", "times-shared"))},
		{"eight listeners", cell(r.pairs("BenchmarkQueues/shard", "times-shared"))}}
	b.WriteString(table(rows))
	plots["queues.svg"] = plot("99th percentile of eight workers, as a multiple of one shared queue's", r.bars("BenchmarkQueues", "times-shared"), 1, false)
	b.WriteString("\n![99th percentile](queues.svg)\n")
	section("If one of eight workers is stuck, %s%% of the clients wait in its queue. With a\n"+
		"shared queue one does. Connections that are kept open are accepted seldom, so a\n"+
		"shard gains them nothing.", cell(r.get("BenchmarkStopped", "%-hanging")))

	section("## Upper case\n\nexamples/upper, as a part of the time of bytes.ToUpper for the same text; and the echo of\none message: what it allocates, and its time as a part of that with a handler that reads,\ncalls bytes.ToUpper and writes, client included.\n")
	rows = [][]string{{"bytes", "of bytes.ToUpper", "allocations", "MB/s of the echo", "of the naive echo's time"}}
	for _, size := range r.below("BenchmarkUpper", "64", "1024", "65536") {
		rows = append(rows, []string{size, cell(r.get("BenchmarkUpper/"+size, "of-bytes.ToUpper")),
			count(r.get("BenchmarkEcho/"+size, "allocs/op")), cell(r.get("BenchmarkEcho/"+size, "MB/s")),
			cell(r.pairs("BenchmarkEcho/"+size, "of-naive"))})
	}
	b.WriteString(table(rows))

	section(`## What is not here

Connections and datagrams per second, with and without a shard: on few CPUs the
clients take what the server would gain, and runs of the same program differ more
than the programs do. A gain of sharding takes many cores, and was not measured.
Times of Listen above are those of system calls that take microseconds; they are
shown to be compared within this table only.`)
	return b.String(), plots
}

func (v value) times(f float64) value { return value{v.q1 * f, v.median * f, v.q3 * f} }

// states returns the names one level below a benchmark whose results are two
// levels below.
func (r results) states(name string) (states []string) {
	for sub := range r {
		if rest, ok := strings.CutPrefix(sub, name+"/"); ok {
			state, _, _ := strings.Cut(rest, "/")
			states = append(states, state)
		}
	}
	slices.Sort(states)
	return slices.Compact(states)
}

// bars returns the bars of a benchmark's unit. What the noise hides has none.
func (r results) bars(name, unit string) (bars []bar) {
	for _, sub := range r.below(name, ways...) {
		if v, ok := r.pairs(name+"/"+sub, unit); ok && !v.noisy() {
			bars = append(bars, bar{sub, v})
		}
	}
	return bars
}

// table returns rows in Markdown; the first is the heading.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|" + strings.Repeat("---|", len(row)) + "\n")
		}
	}
	return b.String()
}
