package inuse

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Error returns the error that was explained, then who holds the address, then
// the advice, in one line.
func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString(e.Err.Error())
	s.WriteString(": ")
	s.WriteString(e.Explanation())
	return s.String()
}

// Explanation returns what Error says beyond e.Err.
func (e *Error) Explanation() string {
	parts := []string{e.Reason()}
	const most = 4
	for i, h := range e.Holders {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(e.Holders)-most))
			break
		}
		parts = append(parts, h.String())
	}
	parts = append(parts, e.Advice)
	if len(e.Unseen) > 0 {
		parts = append(parts, "not seen: "+strings.Join(e.Unseen, ", "))
	}
	if e.Changed {
		parts = append(parts, "sockets came and went meanwhile, look again")
	}
	return strings.Join(parts, "; ")
}

// Reason says why the address cannot be bound, in a few words: e.Cause, or what else
// is known where that is CauseUnknown.
func (e *Error) Reason() string {
	if e.reason != "" {
		return e.reason
	}
	return e.Cause.sentence()
}

// sentence says c in words.
func (c Cause) sentence() string {
	switch c {
	case CauseSelf:
		return "this process has it already"
	case CauseListener:
		return "a live socket has it"
	case CauseSharing:
		return "live sockets share it with SO_REUSEPORT"
	case CauseOtherUser:
		return "a live socket shares it with SO_REUSEPORT, with its own user only"
	case CauseInherited:
		return "a live socket has it, which several processes have"
	case CauseDualStack:
		return "a live socket of the other IP version has it: a wildcard [::] without IPV6_V6ONLY holds IPv4 as well"
	case CauseBound:
		return "a socket that is bound, but does not listen, has it"
	case CauseLeftover:
		return "connections of a former socket are left over"
	case CauseStubborn:
		return "connections are left over that were made without SO_REUSEADDR"
	case CauseOutgoing:
		return "an outgoing connection has it"
	case CauseHidden:
		return "a live socket has it, whose process cannot be seen"
	case CausePrivileged:
		return "the port is privileged"
	case CauseNotLocal:
		return "this host does not have the address"
	case CauseExhausted:
		return "the ephemeral ports are exhausted"
	case CauseNoZone:
		return "a link-local address takes a zone"
	case CauseStale:
		return "the file of a socket that nobody has any more is in the way"
	case CauseNotSocket:
		return "the file is no socket"
	case CauseFree:
		return "it is free by now"
	}
	return "the kernel shows no reason"
}

// String returns a line for people, such as "nginx (pid 812), user www-data,
// LISTEN on 0.0.0.0:80".
func (h Holder) String() string {
	var parts []string
	for _, p := range h.Processes {
		s := fmt.Sprintf("%s (pid %d)", p.Command, p.PID)
		if p.Heir {
			s += ", its heir"
		}
		parts = append(parts, s)
	}
	switch {
	case h.User != "":
		parts = append(parts, "user "+h.User)
	case h.UID >= 0:
		parts = append(parts, fmt.Sprintf("user %d", h.UID))
	case len(parts) == 0:
		parts = append(parts, "nobody's")
	}
	if h.Cgroup != "" && h.Cgroup != "/" {
		parts = append(parts, "cgroup "+h.Cgroup)
	}
	where := h.State + " on " + h.where()
	if h.Count > 1 {
		where = fmt.Sprintf("%d x %s", h.Count, where)
	}
	parts = append(parts, where)
	if h.Expires > 0 {
		parts = append(parts, "gone in "+seconds(h.Expires))
	}
	return strings.Join(parts, ", ")
}

// printable makes each text of e printable, so that nobody writes to a terminal or
// a log by the name of a process, a cgroup, a user or a file. It is the last that is
// done to an explanation.
func (e *Error) printable() *Error {
	e.Advice, e.reason = printable(e.Advice), printable(e.reason)
	for i := range e.Unseen {
		e.Unseen[i] = printable(e.Unseen[i])
	}
	for i := range e.Holders {
		h := &e.Holders[i]
		h.Path, h.User, h.Cgroup = printable(h.Path), printable(h.User), printable(h.Cgroup)
		for j := range h.Processes {
			h.Processes[j].Command = printable(h.Processes[j].Command)
		}
	}
	return e
}

// printable returns s with a question mark for each character that is not.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// where returns the addresses of h.
func (h Holder) where() string {
	if h.Path != "" {
		return h.Path
	}
	s := h.Local.String()
	if h.V6Only && h.Local.Addr().IsUnspecified() {
		s += " (IPv6 only)"
	}
	if h.Remote.IsValid() && h.Count == 1 {
		s += " to " + h.Remote.String()
	}
	return s
}

// seconds returns d as "12 s", rounded up.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", int((d+time.Second-1)/time.Second))
}

// pids returns "pid 12", "pids 12 and 13", or "it".
func (h Holder) pids() string {
	var all []string
	for _, p := range h.Processes {
		all = append(all, fmt.Sprint(p.PID))
	}
	switch len(all) {
	case 0:
		return "it"
	case 1:
		return "pid " + all[0]
	}
	return "pids " + strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
