package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"example.com/reuse/handover"
)

// What a server says is held against what clients lost.
func TestOff(t *testing.T) {
	for _, test := range []struct {
		name     string
		err      error
		lost     map[loss]int
		off      int
		falseNil bool
	}{
		{"nothing", nil, nil, 0, false},
		{"false nil", nil, map[loss]int{lostRequest: 2}, 2, true},
		{"to be repeated", nil, map[loss]int{lostPipelined: 2}, 0, false},
		{"counted", &handover.ShutdownError{Crossed: 2, Partial: 1}, map[loss]int{lostRequest: 2, lostHead: 1}, 0, false},
		{"too few", &handover.ShutdownError{Crossed: 2, Partial: 1}, map[loss]int{lostRequest: 2}, -1, false},
		{"too many", &handover.ShutdownError{Cut: 1}, map[loss]int{lostAnswer: 3}, 2, false},
		{"untold", &handover.ShutdownError{Cut: 1, Untold: 2}, map[loss]int{lostAnswer: 1, lostRequest: 2}, 0, false},
		{"more than untold", &handover.ShutdownError{Untold: 2}, map[loss]int{lostRequest: 3}, 1, false},
	} {
		l, ok := left(test.err, 0)
		if r := (restart{l, test.lost}); !ok || r.off() != test.off || r.falseNil() != test.falseNil {
			t.Errorf("%s: left %v, off %d, false nil %v", test.name, ok, r.off(), r.falseNil())
		}
	}
	if _, ok := left(handover.ErrNoSuccessor, 0); ok {
		t.Error("a server that serves on passes for one that left")
	}
	if l, ok := left(&stoppedError{io.EOF}, 0); !ok || l.Error != "EOF" {
		t.Errorf("the control's error: %+v, left %v", l, ok)
	}
}

// Losses are those of the server that had the connection or, if that is unknown, of
// the one that leaves.
func TestLedger(t *testing.T) {
	l := newLedger()
	l.leave(1)
	l.add(lostRequest, 2)
	l.add(lostFirst, 0)
	l.add(lostPipelined, 1)
	if got := fmt.Sprint(l.take(1)); got != fmt.Sprint(map[loss]int{lostFirst: 1, lostPipelined: 1}) {
		t.Error(got)
	}
	if l.rest() != 1 || len(l.take(1)) != 0 {
		t.Errorf("the rest is %d", l.rest())
	}
}

func TestPythonOutcome(t *testing.T) {
	if took, err := pythonOutcome(strings.Fields("ok 12 1.5")); err != nil || took != 1500*time.Millisecond {
		t.Error(err, took)
	}
	_, err := pythonOutcome(strings.Fields("lost request 12 RemoteDisconnected"))
	var lost *lostError
	if !errors.As(err, &lost) || lost.kind != lostRequest || lost.pid != 12 || !errors.Is(err, io.EOF) {
		t.Errorf("%#v", err)
	}
	if _, err := pythonOutcome(strings.Fields("Traceback")); err == nil || errors.As(err, &lost) {
		t.Errorf("what is no outcome: %v", err)
	}
}

// The SYN is one that a receiver takes: its checksum is right.
func TestSYN(t *testing.T) {
	packet := syn(netip.MustParseAddrPort("192.0.2.1:20000"), netip.MustParseAddrPort("198.51.100.1:9999"))
	sum := func(b []byte) (n uint32) {
		for i := 0; i < len(b); i += 2 {
			n += uint32(b[i])<<8 | uint32(b[i+1])
		}
		return n
	}
	total := sum(packet[12:]) + 6 + 20 // RFC 9293, 3.1: the pseudo-header
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	if total != 0xffff {
		t.Errorf("sum %#x", total)
	}
}

// The table has a row for each load, with what the control lost, and sums.
func TestLoadsTable(t *testing.T) {
	crossed, _ := left(&handover.ShutdownError{Crossed: 2, Untold: 3}, 2*time.Second)
	good, _ := left(nil, time.Second)
	got := loadsTable([]result{
		{Scenario: "tls", Strategy: "close", Restarts: 2, Tally: tally{OK: 90, EOF: 7}, Leaves: []restart{{good, map[loss]int{lostRequest: 7}}, {good, nil}}},
		{Scenario: "tls", Strategy: "handover", Restarts: 2, Tally: tally{OK: 100, EOF: 4}, Leaves: []restart{{good, nil}, {crossed, map[loss]int{lostRequest: 4}}}},
		{Scenario: "pipeline", Strategy: "handover", Restarts: 1, Tally: tally{OK: 50}, Leaves: []restart{{good, map[loss]int{lostPipelined: 5}}}, Stray: 1},
	})
	got = strings.Join(strings.Fields(got), " ")
	for _, want := range []string{
		"| tls: TLS, every 300ms | 2 | 100 | 4 | 2 + up to 3 | 0 | 1 | 0 | 0 | 0 | 2s | 7 of 97 | 1 of 2 nil |",
		"| pipeline: 3 requests under way on each connection, always | 1 | 50 | 1 | 0 | 1 | 1 | 0 | 5 | 0 | 1s | 0 of 0 | 0 of 0 nil |",
		"| all | 3 | 150 | 5 | 2 + up to 3 | 1 | 2 | 0 | 5 | 0 | 2s | 7 of 97 | 1 of 2 nil |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
