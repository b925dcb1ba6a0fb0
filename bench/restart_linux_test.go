package bench_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A restartResult is what ./restart measured in a scenario with a strategy.
type restartResult struct {
	Scenario, Strategy string
	Restarts, Refusals int
	Tally              struct{ OK, Delayed, Reset, Refused, EOF, Timeout, Other int }
	Leaves             []struct {
		Error   string
		Counted struct{ Crossed, Partial, Untold, Cut, Hijacked, Unserved int }
		Lost    map[string]int
	}
	Stray  int
	Errors []string
}

func (r restartResult) lost() int {
	return r.Tally.Reset + r.Tally.Refused + r.Tally.EOF + r.Tally.Timeout + r.Tally.Other
}

// restarts runs ./restart, a short run of it.
func restarts(t *testing.T, args ...string) (results []restartResult) {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces and to start processes as another user")
	}
	harness := filepath.Join(t.TempDir(), "restart")
	if out, err := exec.Command("go", "build", "-o", harness, "./restart").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Servers start it by another name, as another user.
	if err := os.Chmod(harness, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), harness, append([]string{"-short", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var r restartResult
		if err := lines.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, %s: %d restarts, %d ok, %d lost, %d delayed", r.Scenario, r.Strategy, r.Restarts, r.Tally.OK, r.lost(), r.Tally.Delayed)
		if r.Restarts == 0 || r.Tally.OK == 0 {
			t.Errorf("%s, %s: %d restarts, %d ok: nothing is proven", r.Scenario, r.Strategy, r.Restarts, r.Tally.OK)
		}
		results = append(results, r)
	}
	t.Logf("%.0f s", time.Since(began).Seconds())
	return results
}

// A short run of ./restart: closing loses connections, requests and datagrams,
// package handover loses none.
func TestRestart(t *testing.T) {
	strategies := map[string]int{}
	for _, r := range restarts(t) {
		strategies[r.Strategy]++
		switch r.Strategy {
		case "close":
			if r.lost() == 0 {
				t.Errorf("%s: closing lost nothing, so the run proves nothing", r.Scenario)
			}
		case "handover":
			if r.lost() > 0 || r.Refusals > 0 {
				t.Errorf("%s: %d lost, %d drains refused: %q", r.Scenario, r.lost(), r.Refusals, r.Errors)
			}
		}
	}
	if strategies["close"] != strategies["handover"] || strategies["close"] < 4 {
		t.Errorf("results %v, want both strategies in 4 scenarios", strategies)
	}
}

// A short run of ./restart -loads: after each restart, what HTTPServer's Shutdown
// returned is what its clients lost. With http.Server.Shutdown, the control, they lose
// something after nil.
func TestLoads(t *testing.T) {
	counted, controls, loads := 0, 0, map[string]int{}
	for _, r := range restarts(t, "-loads") {
		loads[r.Strategy]++
		if r.Strategy == "handover" && (r.Stray > 0 || r.Refusals > 0) {
			t.Errorf("%s: %d lost without a restart, %d refused: %q", r.Scenario, r.Stray, r.Refusals, r.Errors)
		}
		for i, l := range r.Leaves {
			lost := 0
			for _, n := range l.Lost { // no load of the short run has an exception
				lost += n
			}
			if r.Strategy == "close" {
				if l.Error == "" && lost > 0 {
					controls++
				}
				continue
			}
			c := l.Counted
			least := c.Crossed + c.Partial + c.Cut + c.Hijacked + c.Unserved
			if most := least + c.Untold; lost < least || lost > most || l.Error == "" && lost > 0 {
				t.Errorf("%s, restart %d: clients lost %v; Shutdown: %q, %+v", r.Scenario, i, l.Lost, l.Error, c)
			}
			counted += lost
		}
	}
	if loads["handover"] < 5 || loads["handover"] != loads["close"] {
		t.Errorf("results %v, want both strategies with 5 loads", loads)
	}
	if counted == 0 {
		t.Error("nothing was lost where the context ends, so no count is proven")
	}
	if controls < 5 {
		t.Errorf("control: http.Server.Shutdown was wrong %d times only", controls)
	}
}
