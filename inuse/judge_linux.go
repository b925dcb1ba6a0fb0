package inuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// judge returns what was found.
func (l *look) judge() *finding {
	f := &finding{attempt: l.attempt, sight: l.sight, facts: facts{}}
	if start, low := l.attempt.lowPort(); low && !l.asker.root && l.attempt.bindTwice() != nil {
		f.facts["start"] = fmt.Sprint(start)
	}
	if l.attempt.dial && l.attempt.call == "connect" {
		return l.judgeConnection(f)
	}
	f.passes = l.passes()
	for _, g := range l.groups {
		if cause, ok := l.cause(g, f.passes); ok {
			h := g.holder()
			h.cause = cause
			f.holders = append(f.holders, h)
		}
	}
	slices.SortStableFunc(f.holders, func(a, b Holder) int { return cmp.Or(cmp.Compare(rank(a.cause), rank(b.cause)), older(a, b)) })
	refused := l.trial != nil && l.trial.withAddr != nil
	switch {
	case len(f.holders) > 0:
		l.describe(f)
	case l.blind != nil && (l.trial == nil || refused):
		f.cause, f.facts["what"] = CauseUnknown, l.unread()
		if refused {
			f.cause = CauseNoProcess
			f.unseen = append(f.unseen, "which socket it is, as "+l.unread())
		}
	case refused:
		// What is listed nowhere and yet in the way is bound only, on a kernel that
		// does not list those.
		f.cause = CauseBound
		f.unseen = append(f.unseen, "who has it, as this kernel does not list sockets that do not listen")
	default:
		f.cause = CauseFree
		if l.nodePort() {
			f.facts["nodeport"] = ""
		}
	}
	return f
}

// older compares two sockets by the age of the first of their processes: the kernel's
// order is none.
func older(a, b Holder) int {
	if len(a.Processes) == 0 || len(b.Processes) == 0 {
		return cmp.Compare(len(b.Processes), len(a.Processes))
	}
	p, q := a.Processes[0], b.Processes[0]
	return cmp.Or(p.Started.Compare(q.Started), cmp.Compare(p.PID, q.PID))
}

// unread says why not all sockets are known.
func (l *look) unread() string {
	if errors.Is(l.blind, context.DeadlineExceeded) || errors.Is(l.blind, context.Canceled) {
		return "not all sockets could be read in time"
	}
	return fmt.Sprintf("not all sockets could be read (%v)", l.blind)
}

// describe finds the facts that the texts name of the holders.
func (l *look) describe(f *finding) {
	first := &f.holders[0]
	f.cause = first.cause
	if len(f.holders) > 1 && (f.cause == CauseOneAddress || f.cause == CauseDevice) {
		f.cause = CauseListener
	}
	switch f.cause {
	case CauseSelf:
		if six := first.Network == "tcp6" || first.Network == "udp6"; six != (l.target.family == unix.AF_INET6) {
			f.facts["self"] = fmt.Sprintf("[::] takes IPv4 as well, and this process has %v already", first.Local)
			if six {
				f.facts["self"] = fmt.Sprintf("%v, which this process has already, takes IPv4 as well", first.Local)
			}
		}
	case CauseOneAddress:
		if addr, ok := otherAddress(first.Local.Addr()); ok {
			f.facts["address"] = addr.String()
		}
	case CauseOutgoing:
		l.describeRange(f)
	case CauseLeftover:
		if first.client {
			l.describeRange(f)
		}
		f.facts["seconds"] = ""
		longest := first.Expires
		for _, h := range f.holders {
			if h.Expires == 0 {
				return // nobody knows
			}
			longest = max(longest, h.Expires)
		}
		f.facts["seconds"] = seconds(longest)
	}
}

// describeRange finds out how the port got to a client.
func (l *look) describeRange(f *finding) {
	low, high := proc.PortRange()
	if l.target.port < low || high < l.target.port {
		return
	}
	f.facts["reserved"] = string(proc.ReservedPorts().With(l.target.port))
	if f.holders[0].State != "SYN_SENT" {
		f.facts["low"], f.facts["high"] = fmt.Sprint(low), fmt.Sprint(high)
	}
}

// rank orders causes: first what no option overcomes.
func rank(c Cause) int {
	return slices.Index([]Cause{
		CauseSelf, CauseDualStack, CauseInherited, CauseListener, CauseOneAddress, CauseDevice, CauseOtherUser, CauseKernel,
		CauseHidden, CauseNoProcess, CauseBound, CauseOutgoing, CauseConnection, CauseLeftover,
	}, c)
}

// passes finds out which groups block a bind, and which binds pass.
func (l *look) passes() (p passes) {
	for _, g := range l.groups {
		g.blocksAddr, g.blocksPort = g.blocks(uint32(l.asker.uid))
	}
	p.addr = l.settle(func(t *trial) error { return t.withAddr }, func(g *group) *answer { return &g.blocksAddr })
	p.port = l.settle(func(t *trial) error { return t.withPort }, func(g *group) *answer { return &g.blocksPort })
	return p
}

// settle reports whether nothing blocks a bind, and makes what is known of each
// group agree with what bind said to it.
func (l *look) settle(said func(*trial) error, blocks func(*group) *answer) (passes bool) {
	if l.trial != nil && said(l.trial) == nil {
		for _, g := range l.groups {
			*blocks(g) = no
		}
		return true
	}
	var unsure []*group
	for _, g := range l.groups {
		switch *blocks(g) {
		case yes:
			return false
		case maybe:
			unsure = append(unsure, g)
		}
	}
	// It was refused, so one of them has to be the reason: all that there are, if
	// all were listed.
	if l.trial != nil && len(unsure) == 1 && l.blind == nil {
		*blocks(unsure[0]) = yes
	}
	return l.trial == nil && len(unsure) == 0
}

// An answer may be not known.
type answer uint8

const (
	maybe answer = iota
	yes
	no
)

// blocks tells from what is known of g whether it blocks a bind with SO_REUSEADDR,
// and one with SO_REUSEPORT, by the given user (inet_bind_conflict).
func (g *group) blocks(user uint32) (withAddr, withPort answer) {
	listens := g.State == sockdiag.Listen
	if listens {
		withAddr = yes
	}
	if g.options.Known && !listens {
		withAddr = blockedUnless(g.options.ReuseAddr)
	}
	udp := g.Protocol == unix.IPPROTO_UDP
	shares := g.UID == user || g.State == sockdiag.TimeWait || g.Inode == 0 && !listens
	switch {
	case !udp && withAddr == no:
		withPort = no // the trial sets SO_REUSEADDR too
	case !shares:
		withPort = blockedUnless(!udp && withAddr != yes)
		if withPort == no {
			withPort = maybe
		}
	case g.options.Known:
		withPort = blockedUnless(g.options.ReusePort)
	}
	return withAddr, withPort
}

func blockedUnless(passes bool) answer {
	if passes {
		return no
	}
	return yes
}

// cause returns why g is in the way. It is not if ok is false.
func (l *look) cause(g *group, passes passes) (_ Cause, ok bool) {
	udp := l.target.protocol == unix.IPPROTO_UDP
	if connection(g.Socket) {
		return l.connectionCause(g, passes)
	}
	switch {
	case !udp && !passes.addr && g.blocksAddr == no:
		return "", false // another one is
	case slices.ContainsFunc(g.processes, func(p Process) bool { return p.PID == os.Getpid() }):
		return CauseSelf, true
	case g.State == sockdiag.Bound:
		return CauseBound, true
	case g.client:
		return CauseOutgoing, true
	case g.link != "":
		return CauseKernel, true
	case len(g.processes) == 0 && g.unit.name == "" && g.unit.container == "" || l.asker.container && len(g.processes) == 0:
		if l.seesAll(g) {
			return CauseNoProcess, true
		}
		return CauseHidden, true
	case len(g.processes) > 1:
		return CauseInherited, true
	case l.dualStack(g.Socket):
		return CauseDualStack, true
	case l.target.addr.IsUnspecified() && !g.Local.Addr().IsUnspecified():
		return CauseOneAddress, true
	case g.device != "":
		return CauseDevice, true
	case g.options.ReusePort && int(g.UID) != l.asker.uid:
		return CauseOtherUser, true
	}
	return CauseListener, true
}

// seesAll reports whether a process would have been seen if one had the socket. Of its own
// user, even root may not look at those that have more rights, but few do.
func (l *look) seesAll(g *group) bool {
	return l.asker.root && !l.asker.container && !l.asker.blind && (!l.sight.others || int(g.UID) == l.asker.uid) &&
		!l.sight.hidden && !l.sight.late && l.sight.err == nil
}

// dualStack reports whether s, at [::], is in the way of an IPv4 address only because
// it takes IPv4 as well.
func (l *look) dualStack(s sockdiag.Socket) bool {
	return l.target.family == unix.AF_INET && s.Family == unix.AF_INET6 && s.Local.Addr() == netip.IPv6Unspecified()
}

// connectionCause is cause for a TCP connection.
func (l *look) connectionCause(g *group, passes passes) (_ Cause, ok bool) {
	cause := CauseConnection
	switch {
	case g.Leftover():
		cause = CauseLeftover
	case g.client:
		cause = CauseOutgoing
	case len(g.processes) == 0 && l.seesAll(g):
		cause = CauseNoProcess
	}
	switch {
	case passes.addr: // it blocks a socket without SO_REUSEADDR
		return cause, true
	case g.blocksAddr == no:
		return "", false
	case g.blocksAddr == maybe && l.accepted(g):
		return "", false
	}
	return cause, true
}

// accepted reports whether g may be connections of a live listener. They go with it.
func (l *look) accepted(g *group) bool {
	return slices.ContainsFunc(l.live, func(s sockdiag.Socket) bool {
		return (s.UID == g.UID || g.Leftover()) &&
			reachOf(s.Family, s.Local.Addr(), s.V6Only).meets(reachOf(g.Family, g.Local.Addr(), g.V6Only))
	})
}

// judgeConnection explains EADDRNOTAVAIL of connect: there is one connection
// already from this address to that one.
func (l *look) judgeConnection(f *finding) *finding {
	for _, g := range l.groups {
		if connection(g.Socket) && g.Remote == l.attempt.remote {
			h := g.holder()
			h.cause = CauseOutgoing
			f.cause, f.holders = CauseOutgoing, []Holder{h}
			return f
		}
	}
	f.cause = CauseFree
	if l.blind != nil {
		f.cause, f.facts["what"] = CauseUnknown, l.unread()
	}
	return f
}
