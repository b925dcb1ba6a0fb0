package inuse

import (
	"fmt"
	"slices"
	"strings"
)

// Error returns the error that was explained, then why, who has the address and what
// helps, in one line.
func (e *Error) Error() string {
	if e.Err == nil { // of Check
		return strings.TrimSuffix(e.headline, ".")
	}
	oneLine := strings.ReplaceAll(e.Err.Error(), "\n", "; ") // of errors.Join
	return printable(oneLine) + ": " + e.Explanation()
}

// Explanation returns what Error says beyond e.Err.
func (e *Error) Explanation() string {
	var parts []string
	if e.clause != "" {
		parts = append(parts, e.clause)
	}
	lines, _ := e.holderLines()
	const most = 2
	for i, line := range lines[:min(most, len(lines))] {
		if i == 0 && e.state != "" {
			line = append(line, e.state)
		}
		parts = append(parts, strings.Join(line, ", "))
	}
	for i, r := range e.Remedies[:min(most, len(e.Remedies))] {
		text := strings.ToLower(e.lead(i)[:1]) + e.lead(i)[1:] + r.Text
		if how := cures[r.Kind].golang; how != "" {
			text += " (" + how + ")"
		}
		if r.Command != "" {
			text += ": " + r.sudo()
		}
		parts = append(parts, text)
	}
	for _, unseen := range e.Unseen {
		parts = append(parts, "not seen: "+unseen)
	}
	return strings.Join(parts, "; ")
}

// Text returns the explanation in lines, for people who have not written the program
// that was refused.
func (e *Error) Text() string {
	var s strings.Builder
	line := func(parts ...string) { s.WriteString(strings.Join(parts, "") + "\n") }
	line(e.headline)
	lines, more := e.holderLines()
	const most, width = 3, 100
	for _, parts := range lines[:min(most, len(lines))] {
		if l := "  " + strings.Join(parts, ", "); len([]rune(l)) <= width {
			line(l)
		} else {
			line("  ", parts[0], ",")
			line("    ", strings.Join(parts[1:], ", "))
		}
	}
	switch left := len(lines) - most; {
	case left > 0:
		line("  ", fmt.Sprint(left), " more")
	case more != "":
		line("  ", more)
	}
	for i, r := range e.Remedies {
		if r.Command == "" {
			line(e.lead(i), r.Text, ".")
			continue
		}
		line(e.lead(i), r.Text, ":")
		line("    ", r.sudo())
	}
	if e.why != "" {
		line("Why: ", e.why)
	}
	for _, unseen := range e.Unseen {
		line("Not seen: ", unseen, ".")
	}
	for _, hint := range e.Hints {
		line("Note: ", hint, ".")
	}
	return s.String()
}

// holderLines returns what is said of the holders, or of the file, in parts, and of the
// processes that are left out.
func (e *Error) holderLines() (lines [][]string, more string) {
	if e.file != "" {
		lines = append(lines, []string{e.file})
	}
	var before []string // what was said last, of so many sockets that are the same
	same := 0
	for _, h := range e.Holders {
		these, rest := h.lines(e.now)
		if last := len(lines) - 1; last >= 0 && len(these) == 1 && slices.Equal(these[0], before) {
			same++
			lines[last] = append([]string{fmt.Sprintf("%s (%d sockets)", before[0], same)}, before[1:]...)
			continue
		}
		if len(these) > 0 {
			before, same = these[len(these)-1], 1
		}
		lines = append(lines, these...)
		if rest != "" {
			more = rest
		}
	}
	return lines, more
}

// lead returns what introduces remedy i.
func (e *Error) lead(i int) string {
	r := e.Remedies[i]
	c := classOf(r.Kind, e.class)
	share := ""
	if strings.HasPrefix(r.Kind, "share") {
		share = "share it: "
	}
	switch {
	case c == besides:
		return "And "
	case i > 0 && (c == classOf(e.Remedies[i-1].Kind, e.class) || share != ""):
		return "Or " + share
	}
	return c.label() + ", " + share
}

// sudo returns the command, by sudo if it needs that.
func (r Remedy) sudo() string {
	switch {
	case !r.NeedsRoot:
		return r.Command
	case strings.Contains(r.Command, " && "):
		words, _ := quote(r.Command)
		return "sudo sh -c " + words
	}
	return "sudo " + r.Command
}

// clean makes each text of e printable. It is the last that is done to an explanation.
func (e *Error) clean() *Error {
	for _, s := range []*string{&e.headline, &e.clause, &e.state, &e.file, &e.why} {
		*s = printable(*s)
	}
	for i := range e.Unseen {
		e.Unseen[i] = printable(e.Unseen[i])
	}
	for i := range e.Hints {
		e.Hints[i] = printable(e.Hints[i])
	}
	for i := range e.Remedies {
		r := &e.Remedies[i]
		r.Text = printable(r.Text)
		if printable(r.Command) != r.Command { // with another name it would be another command
			r.Command, r.NeedsRoot = "", false
		}
	}
	for i := range e.Holders {
		h := &e.Holders[i]
		h.Local, h.Remote = printableZone(h.Local), printableZone(h.Remote)
		for _, s := range []*string{&h.Name, &h.Path, &h.Device, &h.User, &h.Unit, &h.Container, &h.unit.name, &h.unit.container, &h.link, &h.kind} {
			*s = printable(*s)
		}
		for j := range h.Processes {
			p := &h.Processes[j]
			for _, s := range []*string{&p.Name, &p.Command, &p.Supervisor, &p.unit.name, &p.unit.container, &p.terminal, &p.tracerName, &p.parentName, &p.supervised} {
				*s = printable(*s)
			}
		}
	}
	return e
}
