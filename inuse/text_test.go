package inuse

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// An Error that nobody filled says nothing, and an error of several lines is one of one.
func TestErrorText(t *testing.T) {
	var empty Error
	if got := empty.Error() + empty.Explanation() + empty.Text(); got != "\n" {
		t.Errorf("%q", got)
	}
	joined := &Error{Err: errors.Join(errors.New("a"), errors.New("b")), clause: "c"}
	if got := joined.Error(); got != "a; b: c" {
		t.Errorf("%q", got)
	}
}

// Sockets of which the same is to be said take one line.
func TestSameSockets(t *testing.T) {
	f := situations["6"]
	f.now = goldenNow
	h := f.holders[0]
	f.holders = nil
	for range 2000 {
		f.holders = append(f.holders, h)
	}
	text := f.error().Text()
	want := "Port 2020 is in use by sleep 1000.\n  sleep 1000 (pid 733) listens on 0.0.0.0:2020 (2000 sockets), user root, started 3 h ago\n"
	if !strings.HasPrefix(text, want) || strings.Count(text, "\n") != 4 {
		t.Errorf("prints\n%s", text)
	}
}

// States are named as ss names them.
func TestDropClosed(t *testing.T) {
	for state, want := range map[string]string{"TIME_WAIT": "time-wait", "FIN_WAIT1": "fin-wait-1", "FIN_WAIT2": "fin-wait-2", "LAST_ACK": "last-ack", "CLOSING": "closing"} {
		f := situations["36"]
		h := f.holders[0]
		h.State = state
		f.holders = []Holder{h}
		if got := fmt.Sprint(f.error().Remedies); !strings.Contains(got, " state "+want+" sport") {
			t.Errorf("%s: %s", state, got)
		}
	}
}
