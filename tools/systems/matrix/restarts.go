package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// restarts is the program whose column tells what replacing a server lost.
const restarts = "bench/restart"

// lost is a cell for the output of restarts, with -json.
func lost(log string, err error) string {
	if err != nil {
		return "FAIL: " + err.Error()
	}
	type sum struct{ restarts, lost, all int }
	sums := map[string]*sum{"handover": {}, "close": {}}
	for line := range strings.Lines(log) {
		var result struct {
			Strategy         string
			Restarts, Undone int
			Tally            struct{ OK, Reset, Refused, EOF, Timeout, Other int }
		}
		if json.Unmarshal([]byte(line), &result) != nil || sums[result.Strategy] == nil {
			continue // what else is on the console
		}
		s, t := sums[result.Strategy], result.Tally
		n := t.Reset + t.Refused + t.EOF + t.Timeout + t.Other
		s.restarts += result.Restarts - result.Undone
		s.lost += n
		s.all += n + t.OK
	}
	drained, closed := sums["handover"], sums["close"]
	if drained.all == 0 || closed.lost == 0 {
		return "FAIL: no results, or the control lost nothing"
	}
	cell := fmt.Sprintf("%d restarts, lost %d of %d; closed, %d of %d", drained.restarts, drained.lost, drained.all, closed.lost, closed.all)
	if drained.lost > 0 {
		cell = "FAIL: " + cell
	}
	return cell
}
