package bench_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A short run of ./restart: closing loses connections, requests and datagrams,
// package handover loses none.
func TestRestart(t *testing.T) {
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
	cmd := exec.CommandContext(t.Context(), harness, "-short", "-json")
	cmd.Stderr = os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}

	var results = map[string]int{}
	for lines := json.NewDecoder(bytes.NewReader(out)); lines.More(); {
		var r struct {
			Scenario, Strategy string
			Restarts, Refusals int
			Tally              struct{ OK, Delayed, Reset, Refused, EOF, Timeout, Other int }
			Errors             []string
		}
		if err := lines.Decode(&r); err != nil {
			t.Fatal(err)
		}
		lost := r.Tally.Reset + r.Tally.Refused + r.Tally.EOF + r.Tally.Timeout + r.Tally.Other
		t.Logf("%s, %s: %d restarts, %d ok, %d lost, %d delayed", r.Scenario, r.Strategy, r.Restarts, r.Tally.OK, lost, r.Tally.Delayed)
		results[r.Strategy]++
		if r.Restarts == 0 || r.Tally.OK == 0 {
			t.Errorf("%s, %s: %d restarts, %d ok: nothing is proven", r.Scenario, r.Strategy, r.Restarts, r.Tally.OK)
		}
		switch r.Strategy {
		case "close":
			if lost == 0 {
				t.Errorf("%s: closing lost nothing, so the run proves nothing", r.Scenario)
			}
		case "handover":
			if lost > 0 || r.Refusals > 0 {
				t.Errorf("%s: %d lost, %d drains refused: %q", r.Scenario, lost, r.Refusals, r.Errors)
			}
		}
	}
	if results["close"] != results["handover"] || results["close"] < 4 {
		t.Errorf("results %v, want both strategies in 4 scenarios", results)
	}
	t.Logf("%.0f s", time.Since(began).Seconds())
}
