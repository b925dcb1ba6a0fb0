package inuse

import (
	"cmp"
	"os"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// judge returns the explanation of what was found.
func (l *look) judge() *Error {
	if l.attempt.dial && l.attempt.call == "connect" {
		return l.judgeConnection()
	}
	passes := l.passes()
	e := &Error{Err: l.attempt.err}
	for _, g := range l.groups {
		if cause, ok := l.cause(g, passes); ok {
			e.Holders = append(e.Holders, g.holder(cause))
		}
	}
	slices.SortStableFunc(e.Holders, func(a, b Holder) int { return cmp.Compare(rank(a.Cause), rank(b.Cause)) })
	switch {
	case len(e.Holders) > 0:
		e.Cause = e.Holders[0].Cause
		e.Advice = l.advice(e.Holders[0], passes)
	case passes.addr && l.trial != nil:
		e.Cause, e.Advice = CauseFree, "try again with "+l.reuseAddr()
	case l.blind:
		e.Cause, e.Advice = CauseUnknown, "look again"
	case passes.addr:
		e.Cause, e.Advice = CauseFree, "try again"
	case passes.port:
		e.Cause, e.Advice = CauseSharing, "open it with "+l.reusePort()+", to share it; this kernel does not list who has it"
	case l.kernel.conn == nil || len(l.unseen) > 0:
		e.Cause, e.Advice = CauseUnknown, "look again as root, with sock_diag in the kernel"
	default:
		// What is listed nowhere and yet in the way is bound only, on a
		// kernel that does not list those.
		e.Cause = CauseBound
		e.Advice = "stop the process that has bound it but neither listens nor connects; this kernel does not list such sockets"
	}
	return e
}

// rank orders causes: first what no option overcomes.
func rank(c Cause) int {
	return slices.Index([]Cause{
		CauseSelf, CauseListener, CauseDualStack, CauseInherited, CauseOtherUser, CauseHidden, CauseBound,
		CauseOutgoing, CauseStubborn, CauseSharing, CauseLeftover,
	}, c)
}

// What passes is the binds that nothing blocks: with SO_REUSEADDR, and with
// SO_REUSEPORT as well.
type passes struct {
	addr, port bool
}

// passes finds out which groups block a bind, and which binds pass.
func (l *look) passes() (p passes) {
	for _, g := range l.groups {
		g.blocksAddr, g.blocksPort = g.blocks(l.user)
	}
	var withAddr, withPort error
	if l.trial != nil {
		withAddr, withPort = l.trial.withAddr, l.trial.withPort
	}
	p.addr = l.settle(withAddr, func(g *group) *answer { return &g.blocksAddr })
	p.port = l.settle(withPort, func(g *group) *answer { return &g.blocksPort })
	return p
}

// settle reports whether nothing blocks a bind, and makes what is known of each
// group agree with what bind said to it.
func (l *look) settle(refused error, blocks func(*group) *answer) (passes bool) {
	tried := l.trial != nil
	if tried && refused == nil {
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
	// It was refused, so one of them has to be the reason.
	if tried && len(unsure) == 1 {
		*blocks(unsure[0]) = yes
	}
	return !tried && len(unsure) == 0
}

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
	if connection(g.Socket) {
		return l.connectionCause(g, passes)
	}
	if passes.addr && l.target.protocol == unix.IPPROTO_TCP {
		return CauseLeftover, g.State == sockdiag.Bound
	}
	processes := map[int]bool{}
	for _, d := range g.descriptors {
		processes[d.PID] = true
	}
	sharing := g.options.ReusePort
	switch {
	case processes[os.Getpid()]:
		return CauseSelf, true
	case g.State == sockdiag.Bound && !sharing:
		return CauseBound, true
	case g.blocksPort == no:
		return CauseSharing, true
	case len(processes) == 0:
		return CauseHidden, true
	case sharing && g.UID != l.user:
		return CauseOtherUser, true
	case g.client:
		return CauseOutgoing, true
	case len(processes) > 1:
		return CauseInherited, true
	case l.otherVersion(g.Socket):
		return CauseDualStack, true
	}
	return CauseListener, true
}

// otherVersion reports whether g and the target are in each other's way only
// because one of them is a wildcard [::] that holds IPv4 as well.
func (l *look) otherVersion(s sockdiag.Socket) bool { return s.Family != l.target.family }

// connectionCause is cause for a TCP connection.
func (l *look) connectionCause(g *group, passes passes) (_ Cause, ok bool) {
	switch {
	case passes.addr:
		return CauseLeftover, true
	case g.blocksAddr == no:
		return "", false
	case passes.port:
		return CauseLeftover, len(l.live) == 0
	case g.client:
		return CauseOutgoing, true
	// The connections of a live listener are as it is.
	case g.blocksAddr == maybe && slices.ContainsFunc(l.live, func(s sockdiag.Socket) bool {
		return s.UID == g.UID || g.Leftover()
	}):
		return "", false
	}
	return CauseStubborn, true
}

// judgeConnection explains EADDRNOTAVAIL of connect: there is one connection
// already from this address to that one.
func (l *look) judgeConnection() *Error {
	for _, g := range l.groups {
		if connection(g.Socket) && g.Remote == l.attempt.remote {
			h := g.holder(CauseOutgoing)
			return &Error{Err: l.attempt.err, Cause: CauseOutgoing, Holders: []Holder{h},
				Advice: "dial from another port, or wait until that connection is gone"}
		}
	}
	if l.blind {
		return l.attempt.because(CauseUnknown, "look again")
	}
	return l.attempt.because(CauseFree, "try again")
}
