package inuse

import (
	"slices"
	"strings"
)

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
