package inuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Listening returns everything that listens for TCP connections, or has a UDP port
// without being connected, on this machine: in this process's network namespace. It
// changes nothing. If ctx ends before all sockets are read, that is an error; if it
// ends before all processes are looked at, Unseen says so.
//
// The error wraps errors.ErrUnsupported where the system does not tell.
func Listening(ctx context.Context) (*Listeners, error) {
	limit := limitOf(ctx)
	holders, asker, sight, err := listening(ctx) // listening_linux.go, find_bsd.go and so on
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, &listError{"this system does not tell what listens", err}
	case ctx.Err() != nil && err != nil:
		return nil, &listError{"not all sockets could be read" + limit.suffix(ctx), ctx.Err()}
	case err != nil:
		return nil, &listError{"the system does not list its sockets", err}
	}
	return newListeners(holders, asker, sight, time.Now()), nil
}

// A listError says why there is no list, in a sentence for people.
type listError struct {
	problem string
	err     error
}

func (e *listError) Error() string { return "cannot tell what listens: " + e.problem }
func (e *listError) Unwrap() error { return e.err }

// Listeners are the sockets that [Listening] returns. As of [Error], every text in it
// is printable.
type Listeners struct {
	Sockets []Listener // by protocol, port and address
	Unseen  []string   // what could not be seen

	lines []listLine
	root  bool
	now   time.Time
}

// A Listener is a socket that listens, and what stops it.
type Listener struct {
	Holder
	Remedy Remedy
}

// A listLine is what a program has at a port.
type listLine struct {
	sockets []Holder
	remedy  Remedy
}

func newListeners(holders []Holder, asker asker, sight sight, now time.Time) *Listeners {
	slices.SortStableFunc(holders, func(a, b Holder) int {
		return cmp.Or(strings.Compare(a.Network[:3], b.Network[:3]), cmp.Compare(a.Local.Port(), b.Local.Port()), a.Local.Addr().Compare(b.Local.Addr()))
	})
	l := &Listeners{root: asker.root, now: now}
	type key struct {
		network   string
		port      uint16
		who, user string
	}
	places := map[key]int{}
	for _, h := range holders {
		named := finding{cause: CauseListener, holders: []Holder{h}}
		named.name()
		h = named.holders[0]
		k := key{h.Network[:3], h.Local.Port(), h.program(), h.owner()}
		place, ok := places[k]
		if !ok {
			place = len(l.lines)
			places[k] = place
			l.lines = append(l.lines, listLine{})
		}
		l.lines[place].sockets = append(l.lines[place].sockets, h)
	}
	for i := range l.lines {
		line := &l.lines[i]
		e := (&Error{Holders: line.sockets, Remedies: line.stop(asker)}).clean()
		line.remedy = e.Remedies[0]
		for _, h := range line.sockets {
			l.Sockets = append(l.Sockets, Listener{h, line.remedy})
		}
	}
	if s := l.notSeen(asker, sight); s != "" {
		l.Unseen = append(l.Unseen, printable(s))
	}
	return l
}

// stop returns what stops all that the line is about or, if it is not known who that
// is, how to find out.
func (line listLine) stop(asker asker) []Remedy {
	h := line.sockets[0]
	f := &finding{
		attempt: attempt{network: h.Network[:3], local: netip.AddrPortFrom(netip.Addr{}, h.Local.Port())},
		cause:   CauseListener, holders: slices.Clone(line.sockets), asker: asker,
	}
	f.complete()
	if h.link != "" {
		return f.remedies(f.facts, h.UID, "interface-down")
	}
	if rs := f.stop(); len(rs) > 0 {
		return rs[:1]
	}
	return f.remedies(f.facts, h.UID, f.look())
}

// notSeen says of how many lines the processes are not known, and why.
func (l *Listeners) notSeen(asker asker, sight sight) string {
	n := 0
	for _, line := range l.lines {
		if h := line.sockets[0]; len(h.Processes) == 0 && h.link == "" {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	s := fmt.Sprintf("which processes have %d of %d, ", n, len(l.lines))
	switch {
	case asker.blind || sight.err != nil:
		return s + "as /proc cannot be read"
	case sight.late:
		return s + "as time was up"
	case sight.hidden && !asker.root:
		return s + "as /proc hides those of other users (hidepid)"
	case !asker.root:
		return s + "as they are other users'"
	case asker.container:
		return s + "as they are outside this container"
	}
	if n == 1 {
		return strings.TrimSuffix(s, ", ") + "; it may be the kernel's own"
	}
	return strings.TrimSuffix(s, ", ") + "; they may be the kernel's own"
}

// The widths of what is cut.
const (
	widthWho  = 19
	widthUser = 9
)

// Text returns a table for people: a line for each port and program.
func (l *Listeners) Text() string {
	if len(l.lines) == 0 {
		return "Nothing listens on this machine.\n"
	}
	rows := [][]string{{"PORT", "ADDRESS", "WHO", "PID", "USER", "SINCE", "TO STOP IT"}}
	for _, line := range l.lines {
		rows = append(rows, line.columns(l.now))
	}
	var widths [7]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var s strings.Builder
	for _, row := range rows {
		for i, cell := range row[:len(row)-1] {
			s.WriteString(cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+1))
		}
		s.WriteString(row[len(row)-1] + "\n")
	}
	for _, unseen := range l.Unseen {
		s.WriteString("Not seen: " + unseen)
		if !l.root {
			s.WriteString(". To see them: sudo whyinuse")
		} else {
			s.WriteString(".")
		}
		s.WriteString("\n")
	}
	return s.String()
}

// columns returns the cells of the line.
func (line listLine) columns(now time.Time) []string {
	h := line.sockets[0]
	who, pid, since := h.program(), "?", "?"
	switch ps := line.processes(); {
	case h.link != "":
		who, pid, since = "kernel: "+h.link+" ("+h.kind+")", "-", "-"
	case len(ps) > 0:
		pid = fmt.Sprint(ps[0].PID)
		if !ps[0].Started.IsZero() {
			since = strings.NewReplacer(" days", " d", " day", " d").Replace(ago(now.Sub(ps[0].Started)))
		}
		if len(ps) > 1 {
			more := fmt.Sprintf(" +%d", len(ps)-1)
			who = cut(who, widthWho-len(more)) + more
		}
	}
	user := h.User
	if user == "" {
		user = strings.TrimPrefix(cmp.Or(h.owner(), "?"), "user ")
	}
	stop := line.remedy.sudo()
	if stop == "" {
		stop = line.remedy.Text
	}
	return []string{fmt.Sprintf("%s %d", h.Network[:3], h.Local.Port()), line.addresses(), cut(who, widthWho), pid, cut(user, widthUser), since, stop}
}

// processes returns the processes that have the line's sockets, the oldest first:
// without systemd, if that has passed them to others.
func (line listLine) processes() (ps []Process) {
	for _, h := range line.sockets {
		for _, p := range h.serving() {
			if !slices.ContainsFunc(ps, func(q Process) bool { return q.PID == p.PID }) {
				ps = append(ps, p)
			}
		}
	}
	slices.SortStableFunc(ps, func(p, q Process) int { return p.Started.Compare(q.Started) })
	return ps
}

// serving returns the processes that have h, without systemd if it has passed the
// socket to others.
func (h Holder) serving() []Process {
	if others := slices.DeleteFunc(slices.Clone(h.Processes), Process.isSystemd); len(others) > 0 {
		return others
	}
	return h.Processes
}

// program returns the name of what has h, or "?".
func (h Holder) program() string {
	ps := h.serving()
	switch {
	case len(ps) == 0:
		return cmp.Or(h.unit.containerName(), h.unit.name, "?")
	case ps[0].isDocker():
		return "Docker container"
	case ps[0].isPodman():
		return cmp.Or(ps[0].unit.containerName(), "Podman container")
	case ps[0].isSystemd() && ps[0].unit.name != "":
		return ps[0].unit.name
	}
	return ps[0].Name
}

// addresses returns where the line's sockets listen.
func (line listLine) addresses() string {
	var all []string
	four, six := false, false
	for _, h := range line.sockets {
		switch addr := h.Local.Addr(); {
		case h.Device != "" && addr.IsUnspecified():
			all = append(all, addr.String()+"%"+h.Device)
		case !addr.IsUnspecified():
			all = append(all, addr.String())
		case addr.Is4():
			four = true
		default:
			six, four = true, four || !h.V6Only
		}
	}
	switch {
	case four && six:
		return "all"
	case four:
		all = append([]string{"all IPv4"}, all...)
	case six:
		all = append([]string{"all IPv6"}, all...)
	}
	all = slices.Compact(all)
	if len(all) == 1 {
		return all[0]
	}
	return fmt.Sprintf("%s +%d", all[0], len(all)-1)
}

// cut returns the beginning of s.
func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width])
	}
	return s
}
