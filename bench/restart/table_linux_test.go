package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func someResults() []result {
	return []result{
		{Scenario: "loopback-64", Strategy: "close", Restarts: 20, Tally: tally{OK: 990, Reset: 10, Delayed: 2}},
		{Scenario: "loopback-64", Strategy: "handover", Restarts: 20, Tally: tally{OK: 1000}, Drains: []time.Duration{3e6, 1e6, 2e6}},
		{Scenario: "rtt-20-loss", Strategy: "handover", Restarts: 20, Tally: tally{OK: 1000, Delayed: 40}},
	}
}

func TestTable(t *testing.T) {
	got := table(someResults())
	for _, want := range []string{
		"| TCP connections | close    | 20       | 990  | 10    | 0       | 0   | 0       | 10 (1%) | 2       |",
		// What a link's losses delay does not count.
		"| TCP connections | handover | 40       | 2000 | 0     | 0       | 0   | 0       | 0       | 0       |",
		"10 of 1000, 2 delayed",
		"| loopback-64   | 3        | 2ms    | 3ms     |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// The documents keep what stands around the results, and the plot is XML.
func TestWriteDocuments(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "guide.md")
	if err := os.WriteFile(name, []byte("no markers"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := document{command: "command", begin: tableBegin, end: tableEnd, tables: table, plot: plot}
	if err := d.write(dir, someResults()); err == nil {
		t.Error("the control, a document without markers, is written")
	}
	text := "before\n" + tableBegin + "old\n" + tableEnd + "after\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.write(dir, someResults()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(got); !strings.HasPrefix(s, "before\n") || !strings.HasSuffix(s, "after\n") || strings.Contains(s, "old") {
		t.Errorf("written: %s", s)
	}
	plot, err := os.Open(filepath.Join(dir, "restart.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	circles := 0
	for d := xml.NewDecoder(plot); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 2 {
		t.Errorf("%d rings, want one for each cell that lost nothing", circles)
	}
}

// Errors are told apart.
func TestCount(t *testing.T) {
	c := newCounter()
	_, err := dial("tcp", "127.0.0.1:1") // nobody listens there
	c.count(err, 0)
	c.count(io.ErrUnexpectedEOF, 0)
	c.count(os.ErrDeadlineExceeded, 0)
	c.count(nil, time.Second)
	c.count(nil, time.Millisecond)
	c.count(errors.New("other"), 0)
	if want := (tally{OK: 2, Delayed: 1, Refused: 1, EOF: 1, Timeout: 1, Other: 1}); c.tally != want {
		t.Errorf("%+v, want %+v", c.tally, want)
	}
}
