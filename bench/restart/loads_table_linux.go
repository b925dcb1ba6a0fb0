package main

import (
	"fmt"
	"slices"
	"time"
)

// A sum is what the restarts of a cell, or of several, come to.
type sum struct {
	restarts, ok, lost, counted, untold, nils, falseNils, off, excepted, delayed, stray int
	longest                                                                             time.Duration
}

func sumOf(r result) (t sum) {
	t.restarts, t.ok, t.delayed, t.stray = r.Restarts, r.Tally.OK, r.Tally.Delayed, r.Stray
	for _, l := range r.Leaves {
		n, excepted := l.lost()
		t.lost += n
		t.excepted += excepted
		t.counted += l.Counted.exact()
		t.untold += l.Counted.Untold
		t.off += max(l.off(), -l.off())
		if l.Error == "" {
			t.nils++
		}
		if l.falseNil() {
			t.falseNils++
		}
		t.longest = max(t.longest, l.Took)
	}
	t.lost += r.Stray
	t.off += r.Stray
	return t
}

func (t *sum) add(u sum) {
	t.restarts += u.restarts
	t.ok += u.ok
	t.lost += u.lost
	t.counted += u.counted
	t.untold += u.untold
	t.nils += u.nils
	t.falseNils += u.falseNils
	t.off += u.off
	t.excepted += u.excepted
	t.delayed += u.delayed
	t.stray += u.stray
	t.longest = max(t.longest, u.longest)
}

// loadsLegend explains the table.
const loadsLegend = `*lost* is what clients lost. *counted* is what the errors of Shutdown say was lost,
and "+ up to" how many clients may lose their next request. *off* is the sum over all
restarts of how far the two are apart. *nil* is how many times Shutdown returned nil, and
*false nil* how many of these lost something. *repeat* is what clients have to repeat by
protocol, and nil says nothing of: requests pipelined behind an answer that said close,
those of HTTP/2 that net/http's client could not send, and connections while no server
was there. *slow* answers took more than 0.9 s longer than they should: the loads run side
by side, so that can be the machine, too. *longest* is the longest Shutdown. The control
is http.Server.Shutdown, which counts nothing.
`

// loadsTable has a row for each load.
func loadsTable(results []result) string {
	rows := [][]string{{
		"clients", "restarts", "ok", "lost", "counted", "off", "nil", "false nil", "repeat", "slow", "longest",
		"control: lost", "control: false nil",
	}}
	var total, control sum
	row := func(name string, t, c sum) {
		counted := fmt.Sprint(t.counted)
		if t.untold > 0 {
			counted += fmt.Sprint(" + up to ", t.untold)
		}
		rows = append(rows, []string{
			name, fmt.Sprint(t.restarts), fmt.Sprint(t.ok), fmt.Sprint(t.lost), counted, fmt.Sprint(t.off), fmt.Sprint(t.nils),
			fmt.Sprint(t.falseNils), fmt.Sprint(t.excepted), fmt.Sprint(t.delayed), t.longest.Round(100 * time.Millisecond).String(),
			fmt.Sprintf("%d of %d", c.lost, c.lost+c.ok), fmt.Sprintf("%d of %d nil", c.falseNils, c.nils),
		})
	}
	for _, s := range loads() {
		if !slices.ContainsFunc(results, func(r result) bool { return r.Scenario == s.Name }) {
			continue
		}
		ours, _ := find(results, s.Name, "handover")
		theirs, _ := find(results, s.Name, "close")
		t, c := sumOf(ours), sumOf(theirs)
		if !s.Delays {
			t.delayed = 0
		}
		total.add(t)
		control.add(c)
		row(s.Name+": "+s.About, t, c)
	}
	row("all", total, control)
	return loadsLegend + "\n" + markdown(rows)
}
