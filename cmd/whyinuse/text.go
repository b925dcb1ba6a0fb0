package main

import (
	"fmt"
	"io"
	"strings"

	"example.com/reuse/inuse"
)

// writeText writes e for people.
func writeText(w io.Writer, t target, e *inuse.Error) error {
	_, err := io.WriteString(w, text(t, e))
	return err
}

// text returns e in lines.
func text(t target, e *inuse.Error) string {
	var s strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&s, format+"\n", args...)
	}
	line("%s", headline(t, e))
	for _, h := range e.Holders {
		line("  %v", h)
	}
	if e.Advice != "" {
		line("What helps: %s", e.Advice)
	}
	if len(e.Unseen) > 0 {
		line("Not seen: %s", strings.Join(e.Unseen, ", "))
	}
	if e.Changed {
		line("Sockets came and went meanwhile: look again.")
	}
	return s.String()
}

func headline(t target, e *inuse.Error) string {
	switch e.Cause {
	case inuse.CauseFree:
		return fmt.Sprintf("%v is free", t)
	case inuse.CausePrivileged, inuse.CauseNotLocal, inuse.CauseExhausted, inuse.CauseNoZone,
		inuse.CauseStale, inuse.CauseNotSocket, inuse.CauseUnknown:
		return fmt.Sprintf("%v cannot be bound: %s", t, e.Reason())
	}
	return fmt.Sprintf("%v is in use: %s", t, e.Reason())
}
