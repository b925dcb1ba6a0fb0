package main

import (
	"fmt"
	"io"
	"strings"

	"example.com/reuse"
)

// writeText writes r for people.
func writeText(w io.Writer, t target, r result) error {
	_, err := io.WriteString(w, text(t, r))
	return err
}

// text returns r in lines.
func text(t target, r result) string {
	var s strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&s, format+"\n", args...)
	}
	line("%s", headline(t, r))
	for _, h := range r.Holders {
		line("  %v", h)
	}
	if r.Advice != "" {
		line("What helps: %s", r.Advice)
	}
	if len(r.Unseen) > 0 {
		line("Not seen: %s", strings.Join(r.Unseen, ", "))
	}
	if r.Changed {
		line("Sockets came and went meanwhile: look again.")
	}
	return s.String()
}

func headline(t target, r result) string {
	switch r.Cause {
	case reuse.CauseFree:
		return fmt.Sprintf("%v is free", t)
	case reuse.CausePrivileged, reuse.CauseNotLocal, reuse.CauseExhausted, reuse.CauseNoZone,
		reuse.CauseStale, reuse.CauseNotSocket, reuse.CauseUnknown:
		return fmt.Sprintf("%v cannot be bound: %s", t, r.reason)
	}
	return fmt.Sprintf("%v is in use: %s", t, r.reason)
}
