package inuse

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Holder is a socket that is in the way, or several alike: connections with
// the same local address, state and user.
type Holder struct {
	Name    string         // of who has it, such as "python3 app.py"; "a process" if it is not seen
	Network string         // "tcp4", "tcp6", "udp4", "udp6", "unix", "unixgram" or "unixpacket"
	Local   netip.AddrPort // zero for unix sockets
	Remote  netip.AddrPort // of one of the connections; else zero
	Path    string         // of a unix socket
	Device  string         // the network interface to which it is bound, or ""
	V6Only  bool           // IPV6_V6ONLY, as far as known
	State   string         // "LISTEN", "TIME_WAIT" and so on; "BOUND"; of UDP "UNCONN" or "ESTABLISHED"
	Count   int            // how many sockets, at least 1
	UID     int            // the owner of the socket; -1 if it is not known, or has none any more
	User    string         // its name in /etc/passwd, or ""

	Unit      string        // of systemd, such as "nginx.service"; or ""
	Container string        // such as "Docker container 4f2a9c1b2d3e"; or ""
	Expires   time.Duration // until the last of them is gone by itself; 0 if that is not known
	Options   Options

	// The processes that have the socket, the oldest first; of several
	// sockets, those that were found to have one. Empty if there are none, or
	// none that this process may see.
	Processes []Process

	cause Cause
	unit  unit
	group int    // the process group, if the processes are all that are in it
	link  string // the interface to which it belongs, if it is the kernel's own
	kind  string // of that interface, such as "vxlan"

	client bool // connections that were probably dialled from here
}

// Options are socket options. They are known of sockets whose process this one
// may trace (ptrace(2)).
type Options struct {
	Known     bool // if not, the others are false
	ReuseAddr bool // SO_REUSEADDR
	ReusePort bool // SO_REUSEPORT
}

// A Process is one that has a socket open.
type Process struct {
	PID        int
	Name       string    // such as "python3 app.py"; without arguments that may be secret
	Command    string    // the name of the program
	Started    time.Time // zero if it is not known
	State      string    // "running", "stopped" (as by Ctrl-Z), "traced" (stopped by a debugger), or "zombie" (its main thread has ended)
	Parent     int       // the process id of the parent; 0 if it is not known
	Supervisor string    // the program that starts it again when it ends, as far as known
	Tracer     int       // the process id of the debugger, or 0
	Inherited  bool      // an older one of the Holder's processes has the socket, too

	unit       unit
	uid        int
	terminal   string // "pts/3"
	tracerName string
	parentName string // if it is a script
	supervised string // the command that stops it through its supervisor
	manager    int    // the user of that supervisor
}

// String returns a line for people, such as "nginx (pid 812) listens on 0.0.0.0:80,
// user www-data, nginx.service, started 3 h ago".
func (h Holder) String() string {
	lines, _ := h.lines(time.Now())
	if len(lines) == 0 {
		return "the kernel"
	}
	return strings.Join(lines[0], ", ")
}

// lines returns the lines that tell of h, in parts, and what is said of the processes
// that are not among them.
func (h Holder) lines(now time.Time) (lines [][]string, more string) {
	switch {
	case h.cause == CauseKernel:
		return nil, ""
	case h.noProcess() && h.cause == CauseLeftover:
		return [][]string{{h.remains()}}, ""
	case len(h.Processes) == 0:
		return [][]string{h.line(h.Name, 0, h.unit, "")}, ""
	}
	shown := h.Processes
	if len(shown) > 3 {
		shown = shown[:1]
	}
	for _, p := range shown {
		age := ""
		if h.cause == CauseSelf {
			// its own reader is asked
		} else if p.Inherited && p.Parent > 1 && slices.ContainsFunc(h.Processes, func(q Process) bool { return q.PID == p.Parent }) {
			age = fmt.Sprintf("started by pid %d", p.Parent)
		} else if !p.Started.IsZero() && p.PID != 1 {
			age = "started " + ago(now.Sub(p.Started)) + " ago"
		}
		lines = append(lines, h.line(p.Name, p.PID, p.unit, age))
	}
	if rest := h.Processes[len(shown):]; len(rest) > 0 {
		more = h.more(rest)
	}
	return lines, more
}

// line returns what is said of one process that has h.
func (h Holder) line(name string, pid int, u unit, age string) []string {
	s := printable(name)
	if pid > 0 {
		s += fmt.Sprintf(" (pid %d)", pid)
	}
	s += " " + h.verb(pid) + " " + h.where()
	if h.Device != "" {
		s += " on " + printable(h.Device)
	}
	parts := []string{s}
	for _, part := range []string{h.owner(), h.unitName(u), u.containerName(), age} {
		if part != "" {
			parts = append(parts, printable(part))
		}
	}
	return parts
}

// more says of the processes that are not shown who they are.
func (h Holder) more(rest []Process) string {
	first := h.Processes[0].PID
	children := !slices.ContainsFunc(rest, func(p Process) bool { return p.Parent != first })
	s := fmt.Sprintf("%d more", len(rest))
	if children {
		s += fmt.Sprintf(", started by pid %d", first)
	}
	const most = 3
	var pids []string
	for _, p := range rest[:min(most, len(rest))] {
		pids = append(pids, fmt.Sprint(p.PID))
	}
	s += ": pids " + strings.Join(pids, ", ")
	switch left := len(rest) - most; {
	case left == 1:
		s += " and 1 other"
	case left > 1:
		s += fmt.Sprintf(" and %d others", left)
	}
	return s
}

// owner returns "user alice", "user 1000" or "".
func (h Holder) owner() string {
	switch {
	case h.User != "":
		return "user " + h.User
	case h.UID >= 0:
		return fmt.Sprintf("user %d", h.UID)
	}
	return ""
}

// unitName returns the name of a unit, with its user's if it is not the system's.
func (h Holder) unitName(u unit) string {
	if u.name == "" || u.container != "" || u.user < 0 {
		return u.name
	}
	return u.name + " of " + h.userName(u.user)
}

// userName returns the name of a user, which may be h's.
func (h Holder) userName(uid int) string {
	if uid == h.UID && h.User != "" {
		return h.User
	}
	return cmp.Or(username(uint32(uid)), fmt.Sprint(uid))
}

// connection reports whether h is a TCP connection.
func (h Holder) connection() bool { return h.Remote.IsValid() && strings.HasPrefix(h.Network, "tcp") }

// noProcess reports whether no process has h, as far as the kernel tells.
func (h Holder) noProcess() bool { return h.UID < 0 }

// verb says what the process does with its socket.
func (h Holder) verb(pid int) string {
	switch {
	case h.State == "LISTEN":
		return "listens on"
	case h.cause == CauseOutgoing && h.State == "SYN_SENT":
		return "is connecting from"
	case h.cause == CauseOutgoing:
		return "is connected from"
	case h.connection() && pid == 0:
		return "from"
	case h.connection() && h.Count > 1:
		return fmt.Sprintf("has %d connections of", h.Count)
	}
	return "has"
}

// where returns the addresses of h.
func (h Holder) where() string {
	if h.Path != "" {
		return printable(h.Path)
	}
	s := h.Local.String()
	if h.Remote.IsValid() && (h.Count == 1 || h.cause == CauseOutgoing) {
		s += " to " + h.Remote.String()
	}
	return printable(s)
}

// remains says how many connections are left over, and for how long.
func (h Holder) remains() string {
	what, last := fmt.Sprintf("%d connections of %v are", h.Count, h.Local), ", the last one"
	if h.Count == 1 {
		what, last = fmt.Sprintf("1 connection of %v is", h.Local), ""
	}
	s := what + " in " + h.State
	if h.Expires > 0 {
		s += last + " for " + seconds(h.Expires) + " s"
		if last == "" {
			s = strings.Replace(s, h.State+" for", h.State+", for", 1)
		}
	}
	return s
}

// seconds returns d in seconds, rounded up.
func seconds(d time.Duration) string { return fmt.Sprint(int((d + time.Second - 1) / time.Second)) }

// ago returns d as people say it.
func ago(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d/time.Second)))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < day:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	case d < 2*day:
		return "1 day"
	}
	return fmt.Sprintf("%d days", int(d/day))
}
