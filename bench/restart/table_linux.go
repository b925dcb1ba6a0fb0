package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A class is what is counted together: connections, requests or datagrams.
type class struct {
	name     string
	contains func(scenario) bool
}

func classes() []class {
	return []class{
		{"TCP connections", func(s scenario) bool { return s.Kind == "tcp" }},
		{"HTTP requests", func(s scenario) bool { return s.Kind == "http" }},
		{"datagrams", func(s scenario) bool { return s.Kind == "udp" }},
	}
}

// present returns the scenarios and strategies that have results.
func present(results []result) (rows []scenario, columns []string) {
	for _, s := range scenarios() {
		if slices.ContainsFunc(results, func(r result) bool { return r.Scenario == s.Name }) {
			rows = append(rows, s)
		}
	}
	for _, name := range strategyNames {
		if slices.ContainsFunc(results, func(r result) bool { return r.Strategy == name }) {
			columns = append(columns, name)
		}
	}
	return rows, columns
}

func find(results []result, scenario, strategy string) (result, bool) {
	i := slices.IndexFunc(results, func(r result) bool { return r.Scenario == scenario && r.Strategy == strategy })
	if i < 0 {
		return result{}, false
	}
	return results[i], true
}

// table returns the results as tables in Markdown.
func table(results []result) string {
	return strings.Join([]string{totals(results), losses(results), drains(results)}, "\n")
}

// totals has a row for each class and strategy.
func totals(results []result) string {
	rows := [][]string{{"", "strategy", "restarts", "ok", "reset", "refused", "eof", "timeout", "lost", "delayed"}}
	scenarios, strategies := present(results)
	for _, c := range classes() {
		for _, strategy := range strategies {
			var t tally
			restarts, delayed, any := 0, 0, false
			for _, s := range scenarios {
				r, ok := find(results, s.Name, strategy)
				if !ok || !c.contains(s) {
					continue
				}
				any = true
				t.add(r.Tally)
				restarts += r.Restarts
				if s.Delays {
					delayed += r.Tally.Delayed
				}
			}
			if any {
				rows = append(rows, []string{
					c.name, strategy, fmt.Sprint(restarts), fmt.Sprint(t.OK), fmt.Sprint(t.Reset), fmt.Sprint(t.Refused), fmt.Sprint(t.EOF),
					fmt.Sprint(t.Timeout + t.Other), share(t), fmt.Sprint(delayed),
				})
			}
		}
	}
	return markdown(rows)
}

// losses has a row for each scenario and a column for each strategy.
func losses(results []result) string {
	scenarios, strategies := present(results)
	rows := [][]string{append([]string{"lost of all"}, strategies...)}
	for _, s := range scenarios {
		row := []string{s.Name + ": " + s.About}
		for _, strategy := range strategies {
			text := ""
			if r, ok := find(results, s.Name, strategy); ok {
				text = fmt.Sprintf("%d of %d", r.Tally.lost(), r.Tally.total())
				if s.Delays && r.Tally.Delayed > 0 {
					text += fmt.Sprintf(", %d delayed", r.Tally.Delayed)
				}
				if r.Undone > 0 {
					text += fmt.Sprintf(", %d restarts refused", r.Undone)
				}
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return markdown(rows)
}

// drains has the time that handover takes until closing loses nothing.
func drains(results []result) string {
	rows := [][]string{{"time of Drain", "restarts", "median", "longest"}}
	for _, s := range scenarios() {
		if r, ok := find(results, s.Name, "handover"); ok && len(r.Drains) > 0 {
			rows = append(rows, []string{
				s.Name, fmt.Sprint(len(r.Drains)), r.drain().Round(time.Millisecond).String(),
				slices.Max(r.Drains).Round(time.Millisecond).String(),
			})
		}
	}
	if len(rows) == 1 {
		return ""
	}
	return markdown(rows)
}

// share returns what was lost, as a number and of all.
func share(t tally) string {
	if t.lost() == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%.2g%%)", t.lost(), 100*float64(t.lost())/float64(t.total()))
}

// markdown returns a table whose columns are aligned. The first row is its head.
func markdown(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], len(text))
		}
	}
	var b strings.Builder
	for i, row := range rows {
		for j, text := range row {
			fmt.Fprintf(&b, "| %-*s ", widths[j], text)
		}
		b.WriteString("|\n")
		if i == 0 {
			for _, width := range widths {
				b.WriteString("|" + strings.Repeat("-", width+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}
