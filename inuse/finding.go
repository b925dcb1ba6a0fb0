package inuse

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// A finding is what a look at an address found. All that is printed follows from it:
// the rules are here, in choice.go, who.go and stop.go, and in the tables of cause.go and
// remedy.go.
type finding struct {
	attempt attempt
	cause   Cause
	holders []Holder // the decisive one first
	asker   asker
	passes  passes // of TCP
	sight   sight
	facts   facts  // what a look found besides, by the words of the tables
	file    string // what is said of a file that is in the way
	why     string // where the cause would surprise
	may     bool   // the asker may remove it
	unseen  []string
	hints   []string
	now     time.Time
	alone   bool     // the system has no sharing that gives each server a part of the clients
	instead []string // the kinds of the remedies, where they are not those of Linux
}

// An asker is who wants to know.
type asker struct {
	uid       int
	name      string
	root      bool   // it may do what root may
	program   string // the name of this process's program, of Explain; "" for Check
	container bool   // it sees the processes of a container only
	docker    bool   // it may ask the Docker daemon
	blind     bool   // /proc cannot be read
}

// What passes is the binds that nothing blocks: with SO_REUSEADDR, and with
// SO_REUSEPORT as well.
type passes struct {
	addr, port bool
}

// Sight is what of the processes could not be looked at.
type sight struct {
	others bool  // other users' processes, or those that have more rights
	hidden bool  // /proc does not list other users' processes (hidepid)
	late   bool  // time was up
	err    error // /proc cannot be read
}

// error returns the explanation.
func (f *finding) error() *Error {
	f.complete()
	e := &Error{
		Err: f.attempt.err, Cause: f.cause, Holders: f.holders, Remedies: f.choose(), Unseen: f.unseen, Hints: f.hints,
		now: f.now, root: f.asker.root, file: f.file, why: f.why,
	}
	h := heads[f.cause]
	e.headline, e.clause, e.class = f.facts.fill(h.headline), f.facts.fill(h.clause), h.class
	if start := f.facts["start"]; start != "" && f.attempt.refusal == refusedNotPermitted && f.cause != CausePrivileged {
		e.clause = f.facts.fill("user {me} may not use ports below {start}; besides, {by} has it")
	}
	if s := f.state(); s != "" {
		e.headline, e.state = strings.TrimSuffix(e.headline, ".")+", "+s+".", s
	}
	return e.clean()
}

// complete adds the facts that follow from others.
func (f *finding) complete() {
	if f.facts == nil {
		f.facts = facts{}
	}
	if f.now.IsZero() {
		f.now = time.Now()
	}
	f.name()
	f.see()
	set := func(name, value string) {
		if _, ok := f.facts[name]; !ok {
			f.facts[name] = value
		}
	}
	set("self", alreadyOurs)
	set("S", f.attempt.subject())
	set("s", strings.Replace(f.attempt.subject(), "Port", "port", 1))
	set("ask", f.attempt.ask())
	set("net", f.attempt.network[:3])
	set("port", fmt.Sprint(f.attempt.local.Port()))
	set("me", f.asker.name)
	set("by", f.by())
	set("use", "listen on")
	if f.attempt.path != "" {
		path := f.attempt.path
		if strings.HasPrefix(path, "-") {
			path = "./" + path
		}
		set("path", path)
		set("old", path+".old")
		set("dir", filepath.Dir(path))
		set("missing", "the directory "+f.facts["dir"]+" does not exist")
		set("inunit", runtimeDirectory(f.facts["dir"]))
	}
	set("missing", "this host does not have that address")
	set("conf", strings.ReplaceAll(f.facts["if"], ".", "/")) // as sysctl(8) takes it
	if len(f.holders) > 0 {
		h := f.holders[0]
		set("user", strings.TrimPrefix(h.owner(), "user "))
		set("whose", cmp.Or(h.owner(), "another user"))
		set("state", strings.ToLower(strings.NewReplacer("_WAIT1", "-WAIT-1", "_WAIT2", "-WAIT-2", "_", "-").Replace(h.State))) // as ss(8) takes it
		set("if", h.link)
		set("what", "the interface "+h.link+" ("+h.kind+")")
		if h.Expires > 0 {
			set("seconds", seconds(h.Expires))
		}
		connections, are := "a connection", "is"
		if h.Count > 1 || len(f.holders) > 1 {
			connections, are = "connections", "are"
		}
		set("connections", connections)
		if h.client {
			set("left", "outgoing connections")
			set("leftover", "outgoing connections")
		}
		set("left", "connections of a server that has ended")
		set("leftover", "connections of an ended server")
		set("are", are)
	}
}

// see says what could not be seen, and what else is worth knowing.
func (f *finding) see() {
	if f.cause == CauseNoProcess && len(f.holders) > 0 && f.sight.others {
		f.unseen = append(f.unseen, "processes that even root may not look at")
	}
	for _, h := range f.holders {
		if len(h.Processes) > 0 || h.noProcess() || f.cause == CauseNoProcess || f.cause == CauseKernel {
			continue
		}
		switch {
		case f.asker.blind || f.sight.err != nil:
			f.unseen = append(f.unseen, "processes: /proc is not mounted (mount -t proc proc /proc)")
		case f.sight.late:
			f.unseen = append(f.unseen, "which process it is, as time was up")
		case f.asker.container && !f.sight.others:
			f.unseen = append(f.unseen, "processes outside this container")
		case h.unit.name != "":
			f.unseen = append(f.unseen, fmt.Sprintf("which process of the service it is (sudo whyinuse %s shows it)", f.attempt.ask()))
		case f.sight.others || f.sight.hidden:
			f.unseen = append(f.unseen, "which process it is, as it is another user's")
		}
		break
	}
	hint := func(format string, args ...any) {
		if len(f.hints) == 0 {
			f.hints = append(f.hints, fmt.Sprintf(format, args...))
		}
	}
	if start := f.facts["start"]; start != "" && f.cause != CausePrivileged && f.cause != CauseFree {
		hint("besides, user %s may not use ports below %s", f.asker.name, start)
	}
	switch {
	case f.cause == CauseFree && f.facts.is("nodeport"):
		hint("a firewall rule can still send its connections elsewhere (nft list ruleset)")
	case f.cause == CauseFree && f.attempt.network == "tcp" && f.attempt.on() == "" && f.attempt.local.Port() != 0:
		hint("a server that is still refused may listen on 0.0.0.0 and [::] itself; [::] takes IPv4 as well")
	case f.cause == CauseDevice:
		hint("a socket bound to another interface (SO_BINDTODEVICE) is not refused")
	case f.cause == CauseOneAddress && len(f.holders) > 0 && f.holders[0].unit.name == "systemd-resolved.service":
		hint("with DNSStubListener=no in /etc/systemd/resolved.conf it leaves the port")
	}
}
