package inuse

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A finding is what a look at an address found. All that is printed follows from it:
// the rules are here, in stop.go and in the tables of cause.go and remedy.go.
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

// name gives holders their names and causes.
func (f *finding) name() {
	for i := range f.holders {
		h := &f.holders[i]
		if h.cause == "" {
			h.cause = f.cause
		}
		if h.Name == "" {
			h.Name = h.nameOf()
		}
		if len(h.Processes) > 0 {
			h.unit = h.Processes[0].unit
		}
		h.Unit, h.Container = h.unit.name, h.unit.containerName()
	}
}

func (h Holder) nameOf() string {
	switch {
	case len(h.Processes) > 0:
		return h.Processes[0].Name
	case h.connection() && h.cause != CauseOutgoing:
		return "a connection"
	case h.cause == CauseNoProcess || h.cause == CauseKernel:
		return "a socket"
	}
	return "a process"
}

// by says who the holders are, in a headline.
func (f *finding) by() string {
	var all []string
	add := func(name string) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	for _, h := range f.holders {
		const most = 3
		switch {
		case len(h.Processes) > most:
			what := "others"
			if first := h.Processes[0].PID; !slices.ContainsFunc(h.Processes[1:], func(p Process) bool { return p.Parent != first }) {
				what = "processes that it started"
			}
			add(fmt.Sprintf("%s and %d %s", h.Processes[0].Name, len(h.Processes)-1, what))
		case len(h.Processes) > 0:
			for _, p := range h.Processes {
				add(p.title(len(f.holders) == 1 && len(h.Processes) == 1))
			}
		case h.unit.name != "":
			add(h.unit.name)
		case h.cause == CauseOutgoing && h.owner() != "":
			add(h.Name + " of " + h.owner())
		default:
			add(h.Name)
		}
	}
	switch len(all) {
	case 0:
		return "a process"
	case 1:
		return all[0]
	case 2:
		return all[0] + " and " + all[1]
	}
	return fmt.Sprintf("%s and %d others", all[0], len(all)-1)
}

// title says who p is, in a headline.
func (p Process) title(alone bool) string {
	container := map[string]string{"docker": "a Docker container", "podman": "a Podman container", "cri": "a Kubernetes container",
		"lxc": "an LXC container", "machine": "a container"}[p.unit.kind]
	switch {
	case p.isDocker():
		return "a Docker container"
	case p.isPodman() && p.unit.container != "":
		return "the " + p.unit.containerName()
	case p.isPodman():
		return "a Podman container"
	case container != "":
		return p.Name + " in " + container
	case p.isSystemd() && alone:
		return "systemd, for a service that it starts on demand"
	}
	return p.Name
}

// state says what keeps the only process that has the address from ending, or from
// staying away.
func (f *finding) state() string {
	if len(f.holders) != 1 || len(f.holders[0].Processes) != 1 {
		return ""
	}
	switch p := f.holders[0].Processes[0]; {
	case p.supervised != "":
		return "which " + p.Supervisor + " starts again when it ends"
	case p.State == "stopped":
		return "which is suspended (as by Ctrl-Z)"
	case p.State == "traced":
		return fmt.Sprintf("which %s (pid %d) has stopped", p.tracerName, p.Tracer)
	case p.State == "zombie":
		return "whose main thread has ended"
	}
	return ""
}

// remedies returns those of the kinds whose commands can be written. Uid is the owner
// of what they are about.
func (f *finding) remedies(all facts, uid int, kinds ...string) (rs []Remedy) {
	for _, kind := range kinds {
		c := cures[kind]
		r := Remedy{Kind: kind, Text: all.fill(c.text)}
		command, ok := all.command(c.command)
		if ok {
			r.Command = command
			r.NeedsRoot = !f.asker.root && (c.needs == root || c.needs == owner && uid != f.asker.uid)
		}
		if c.command != "" && !ok && kind != "stop-all" {
			r.Text += ", whose name no command can have"
		}
		rs = append(rs, r)
	}
	return rs
}

// choose returns the remedies of the cause.
func (f *finding) choose() (rs []Remedy) {
	add := func(kinds ...string) {
		uid := -1
		if f.may {
			uid = f.asker.uid
		}
		if len(f.holders) > 0 {
			uid = f.holders[0].UID
		}
		rs = append(rs, f.remedies(f.facts, uid, kinds...)...)
	}
	has := func(fact string) bool { return f.facts[fact] != "" }
	if f.instead != nil {
		add(f.instead...)
		return rs
	}
	switch f.cause {
	case CauseSelf:
		if has("self") && f.facts["self"] != alreadyOurs {
			add("leave-out")
			return rs
		}
		add("close-first")
		return append(rs, f.share()...)
	case CauseListener, CauseOneAddress, CauseDevice, CauseDualStack, CauseOtherUser, CauseInherited, CauseBound, CauseOtherNetns:
		if f.cause == CauseOneAddress && has("address") {
			add("other-address")
		}
		if len(f.holders) > 0 && f.holders[0].Options.ReuseAddr && strings.HasPrefix(f.attempt.network, "udp") {
			add("set-reuseaddr-both")
			f.why = "it has SO_REUSEADDR already; multicast reaches every socket that has it."
		}
		rs = append(rs, f.stop()...)
		if f.cause == CauseDualStack {
			add("v6only")
		}
		if f.cause == CauseBound && f.passes.addr {
			add(f.reuseAddr())
		}
		rs = append(rs, f.share()...)
		if slices.ContainsFunc(rs, func(r Remedy) bool { return r.Kind == "stop-publisher" }) && len(f.hints) == 0 {
			f.hints = append(f.hints, "to look before, use docker ps")
		}
		if len(rs) == 0 {
			add(f.look())
		}
	case CauseConnection:
		rs = f.stop()
		if f.passes.addr {
			add(f.reuseAddr())
		}
		if len(rs) == 0 {
			add(f.look())
		}
	case CauseLeftover:
		if has("seconds") {
			add("wait")
		}
		if f.passes.addr {
			add(f.reuseAddr())
		} else {
			add("drop-closed")
			f.why = "they were made without SO_REUSEADDR; a server that sets it leaves none that block."
		}
		if has("reserved") {
			add("reserve")
			f.why = f.facts.fill(givenOut)
		}
	case CauseOutgoing:
		if f.attempt.dial && f.attempt.call == "connect" {
			add("another-source")
			return rs
		}
		rs = f.stop()
		if len(rs) == 0 {
			add(f.look())
		}
		if has("reserved") {
			add("reserve")
		}
		if has("low") {
			f.why = f.facts.fill(givenOut)
		}
	case CauseKernel:
		add("interface-down")
	case CauseNoProcess:
		switch {
		case len(f.holders) == 0:
			add(f.look())
			return rs
		case f.holders[0].connection():
			add("find-mounts")
			f.why = "a mount keeps its connection until it is unmounted"
			if port := f.holders[0].Remote.Port(); port == 2049 {
				f.why += "; 2049 is the port of NFS"
			}
			f.why += "."
			return rs
		}
		add("find-kernel")
		f.hints = append(f.hints, "else a process has passed it to another one, which has not received it yet")
	case CauseHidden, CauseUnknown:
		add(f.look())
	case CauseStalePerhaps:
		if f.asker.root && !f.asker.container {
			add("remove-if-gone")
			return rs
		}
		add(f.look())
	case CausePrivileged:
		if !f.facts.is("nosuid") && !f.facts.is("userns") {
			add("setcap")
		}
		add("lower-start")
	case CauseForbidden:
		switch {
		case !f.facts.is("selinux"):
			add("read-audit")
		case f.attempt.path != "":
			add("read-avc")
		default:
			add("read-avc", "selinux-port")
		}
	case CauseNotLocal, CauseNoLink:
		if has("down") {
			add("link-up")
		}
		if f.attempt.dial {
			if f.attempt.call != "connect" {
				add("leave-source")
			}
			return rs
		}
		add("bind-any")
		if !has("down") && !f.attempt.local.Addr().IsMulticast() && (f.cause == CauseNoLink || !needsZone(f.attempt.local.Addr())) {
			add("nonlocal")
		}
	case CauseTentative:
		add("wait")
	case CauseDuplicate, CauseIPv6Off:
		if has("address") {
			add("other-address")
		}
		if f.cause == CauseIPv6Off {
			add("ipv6-on")
		}
	case CauseNoZone, CauseWrongZone:
		switch {
		case has("address"):
			add("use-zone")
		case !f.attempt.dial:
			add("bind-any")
		}
	case CauseExhausted:
		add("widen-range")
	case CauseStale:
		add("remove-file")
	case CauseNotSocket:
		switch {
		case f.facts.is("empty"):
			add("remove-directory")
		case f.facts.is("movable"):
			add("other-path", "move-away")
		default:
			add("other-path")
		}
	case CausePathTooLong:
		add("shorter-path")
	case CauseNoDirectory:
		if f.facts.is("file") {
			add("other-path")
		} else {
			add("make-directory")
		}
	case CauseFileSystem:
		add("other-path")
	case CauseDirectoryDenied:
		add("run-as-owner")
	}
	return rs
}

// givenOut is why a client has a port that a server is to have.
const givenOut = "ports from {low} to {high} are also given to outgoing connections."

// alreadyOurs is what is said of a socket of this process that is plainly in the way.
const alreadyOurs = "this process has it already"

// runtimeDirectory says how systemd makes a directory for a service.
func runtimeDirectory(dir string) string {
	if name, ok := strings.CutPrefix(dir, "/run/"); ok && !strings.HasPrefix(name, "user/") {
		return " (in a systemd unit: RuntimeDirectory=" + name + ")"
	}
	return ""
}

func (f facts) is(fact string) bool { _, ok := f[fact]; return ok }

func (f *finding) reuseAddr() string {
	if f.attempt.dial {
		return "dial-reuseaddr"
	}
	return "set-reuseaddr"
}

// look returns how to see more.
func (f *finding) look() string {
	switch {
	case f.cause == CauseUnknown || f.asker.blind:
		return "look-again"
	case f.asker.container && (f.asker.root || f.asker.uid == 0):
		return "look-outside"
	case !f.asker.root:
		return "look-as-root"
	}
	return "look-again"
}

// share returns how the address can be shared, if it can and if that may be meant:
// next to somebody else's server it would take half of the clients.
func (f *finding) share() []Remedy {
	if f.alone || len(f.holders) != 1 || len(f.holders[0].Processes) == 0 || f.attempt.path != "" {
		return nil
	}
	h := f.holders[0]
	p := h.Processes[0]
	switch {
	case h.UID != f.asker.uid, h.unit.name != "", h.unit.container != "", p.isSystemd(), p.isProxy(), f.state() != "", h.State == "BOUND":
		return nil
	case f.asker.program == "" && f.asker.root, f.asker.program != "" && f.asker.program != p.Command:
		return nil
	}
	kind := "share"
	if h.Options.ReusePort || f.passes.port {
		kind = "share-one"
		f.why = "each of the two would get a part of the clients."
	}
	return f.remedies(f.facts, h.UID, kind)
}
