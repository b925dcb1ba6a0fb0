package reuse

import (
	"cmp"
	"os"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// judge returns the explanation of what was found.
func (l *look) judge() *InUseError {
	if l.dial && l.call == "connect" {
		return l.judgeConnection()
	}
	passes := l.passes()
	e := &InUseError{Err: l.err}
	for _, g := range l.groups {
		if cause, ok := l.cause(g, passes); ok {
			e.Holders = append(e.Holders, l.holder(g, cause))
		}
	}
	slices.SortStableFunc(e.Holders, func(a, b Holder) int { return cmp.Compare(rank(a.Cause), rank(b.Cause)) })
	switch {
	case len(e.Holders) > 0:
		e.Cause = e.Holders[0].Cause
		e.Advice = l.advice(e.Holders[0], passes)
	case passes&Addr != 0 && l.refused != nil:
		e.Cause, e.Advice = CauseFree, "try again with "+l.how(Addr)
	case l.blind:
		e.Cause, e.Advice = CauseUnknown, "look again"
	case passes&Addr != 0:
		e.Cause, e.Advice = CauseFree, "try again"
	case passes&Port != 0:
		e.Cause, e.Advice = CauseSharing, "open it with "+l.how(Port)+", to share it; this kernel does not list who has it"
	case l.conn == nil || len(l.unseen) > 0:
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

// passes finds out which groups block a bind with Addr and with Port, and
// returns the modes that nothing blocks.
func (l *look) passes() (passes Mode) {
	for _, g := range l.groups {
		g.blocksAddr, g.blocksPort = g.blocks(l.user)
	}
	for _, m := range []struct {
		mode   Mode
		answer func(*group) *answer
	}{
		{Addr, func(g *group) *answer { return &g.blocksAddr }},
		{Port, func(g *group) *answer { return &g.blocksPort }},
	} {
		tried := l.refused != nil
		if tried && l.refused[m.mode] == nil {
			passes |= m.mode
			for _, g := range l.groups {
				*m.answer(g) = no
			}
			continue
		}
		var unsure []*group
		blocked := false
		for _, g := range l.groups {
			switch *m.answer(g) {
			case yes:
				blocked = true
			case maybe:
				unsure = append(unsure, g)
			}
		}
		if !tried && !blocked && len(unsure) == 0 {
			passes |= m.mode
		}
		// It was refused, so one of them has to be the reason.
		if tried && !blocked && len(unsure) == 1 {
			*m.answer(unsure[0]) = yes
		}
	}
	return passes
}

// blocks tells from what is known of g whether it blocks a bind with Addr, and
// one with Port, by the given user (inet_bind_conflict).
func (g *group) blocks(user uint32) (withAddr, withPort answer) {
	listens := g.State == sockdiag.Listen
	if listens {
		withAddr = yes
	}
	if g.optionsKnown && !listens {
		withAddr = blockedUnless(g.options&Addr != 0)
	}
	udp := g.Protocol == unix.IPPROTO_UDP
	shares := g.UID == user || g.State == sockdiag.TimeWait || g.Inode == 0 && !listens
	switch {
	case !udp && withAddr == no:
		withPort = no // Port sets SO_REUSEADDR too
	case !shares:
		withPort = blockedUnless(!udp && withAddr != yes)
		if withPort == no {
			withPort = maybe
		}
	case g.optionsKnown:
		withPort = blockedUnless(g.options&Port != 0)
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
func (l *look) cause(g *group, passes Mode) (_ Cause, ok bool) {
	if connection(g.Socket) {
		return l.connectionCause(g, passes)
	}
	if passes&Addr != 0 && l.protocol == unix.IPPROTO_TCP {
		return CauseLeftover, g.State == sockdiag.Bound
	}
	processes := map[int]bool{}
	for _, d := range g.descriptors {
		processes[d.PID] = true
	}
	sharing := g.optionsKnown && g.options&Port != 0
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
func (l *look) otherVersion(s sockdiag.Socket) bool { return s.Family != uint8(l.family) }

// connectionCause is cause for a TCP connection.
func (l *look) connectionCause(g *group, passes Mode) (_ Cause, ok bool) {
	switch {
	case passes&Addr != 0:
		return CauseLeftover, true
	case g.blocksAddr == no:
		return "", false
	case passes&Port != 0:
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
func (l *look) judgeConnection() *InUseError {
	for _, g := range l.groups {
		if connection(g.Socket) && g.Remote == l.remote {
			h := l.holder(g, CauseOutgoing)
			return &InUseError{Err: l.err, Cause: CauseOutgoing, Holders: []Holder{h},
				Advice: "dial from another port, or wait until that connection is gone"}
		}
	}
	if l.blind {
		return l.because(CauseUnknown, "look again")
	}
	return l.because(CauseFree, "try again")
}
