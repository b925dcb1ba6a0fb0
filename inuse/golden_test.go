package inuse

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// A golden is what testdata/golden.txt says of a situation.
type golden struct {
	title, remedies, text, line string
	cause                       Cause
}

func goldens(t testing.TB) map[string]golden {
	file, err := os.ReadFile("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]golden{}
	for part := range strings.SplitSeq("\n"+string(file), "\n#") {
		head, rest, _ := strings.Cut(part, "\n")
		fields := strings.Split(head, " | ")
		if len(fields) != 5 {
			continue
		}
		id, title, _ := strings.Cut(fields[0], " ")
		cause, remedies, _ := strings.Cut(fields[3], ": ")
		text, line, _ := strings.Cut(rest, ">> ")
		all[id] = golden{title: title, cause: Cause(cause), remedies: remedies, text: text, line: strings.TrimSpace(line)}
	}
	return all
}

var goldenNow = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

const (
	day   = 24 * time.Hour
	alice = 1000
)

// goldenUsers are the users of the situations.
var goldenUsers = map[string]int{"root": 0, "alice": alice, "": -1}

// process returns a process that began so long ago.
func process(pid int, name string, since time.Duration) Process {
	command, _, _ := strings.Cut(name, " ")
	return Process{PID: pid, Name: name, Command: command, Started: goldenNow.Add(-since), State: "running", Parent: 1, unit: unit{user: -1}}
}

func (p Process) in(cgroup string) Process { p.unit = unitOf(cgroup); return p }

// socket returns a holder of the user.
func socket(network, local, user string, processes ...Process) Holder {
	uid, known := goldenUsers[user]
	if !known {
		uid = 33
	}
	h := Holder{Network: network, State: "LISTEN", Count: 1, UID: uid, User: user, Processes: processes, unit: unit{user: -1}}
	if strings.HasPrefix(network, "udp") {
		h.State = "UNCONN"
	}
	if strings.HasPrefix(network, "unix") {
		h.Path = local
	} else {
		h.Local = at(local)
	}
	for i := range h.Processes {
		h.Processes[i].Inherited = i > 0
		h.Processes[i].uid = uid
	}
	return h
}

func (h Holder) owned(cgroup string) Holder     { h.unit = unitOf(cgroup); return h }
func (h Holder) on(device string) Holder        { h.Device = device; return h }
func (h Holder) options(o Options) Holder       { h.Options = o; return h }
func (h Holder) to(remote, state string) Holder { h.Remote, h.State = at(remote), state; return h }
func (h Holder) groupOf(pgid int) Holder        { h.group = pgid; return h }

func at(address string) netip.AddrPort { return netip.MustParseAddrPort(address) }

func asked(network, address string) attempt {
	a := attempt{network: network, err: errors.New("listen"), refusal: refusedInUse}
	if strings.HasPrefix(network, "unix") {
		a.path = address
		return a
	}
	if host, port, _ := strings.Cut(address, ":"); host == "" {
		a.local = netip.AddrPortFrom(netip.Addr{}, netip.MustParseAddrPort("0.0.0.0:"+port).Port())
	} else {
		a.local = netip.MustParseAddrPort(address)
	}
	return a
}

// TestGolden compares what follows from each situation with what is to be printed.
func TestGolden(t *testing.T) {
	want := goldens(t)
	for id, g := range want {
		t.Run(fmt.Sprintf("%s %s", id, g.title), func(t *testing.T) {
			f, ok := situations[id]
			if !ok {
				t.Fatal("no such situation")
			}
			f.now = goldenNow
			f.facts = maps.Clone(f.facts) // others are added
			e := f.error()
			var kinds []string
			for _, r := range e.Remedies {
				kinds = append(kinds, r.Kind)
			}
			if got := strings.Join(kinds, ", "); got != strings.Trim(g.remedies, "-") {
				t.Errorf("remedies %s, want %s", got, g.remedies)
			}
			if e.Cause != g.cause {
				t.Errorf("cause %s, want %s", e.Cause, g.cause)
			}
			if got := e.Text(); got != g.text && f.cause != CauseSelf { // the command is never that
				t.Errorf("prints\n%swant\n%s", got, g.text)
			}
			if got := e.Explanation(); got != g.line {
				t.Errorf("Explain says\n%s\nwant\n%s", got, g.line)
			}
			checkShape(t, e)
		})
	}
	for id := range situations {
		if _, ok := want[id]; !ok {
			t.Errorf("situation %s is not in golden.txt", id)
		}
	}
}

// checkShape checks what is so of each explanation.
func checkShape(t testing.TB, e *Error) {
	t.Helper()
	text := strings.TrimSuffix(e.Text(), "\n")
	lines := strings.Split(text, "\n")
	if most := 8; len(lines) > most {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, s := range []string{text, e.Explanation()} {
		if strings.ContainsAny(strings.ReplaceAll(s, "{print $2}", ""), "{}") {
			t.Errorf("a fact is missing: %s", s)
		}
	}
}
