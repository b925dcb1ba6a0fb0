//go:build unix || windows

package inuse

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// A survey is what a system other than Linux tells of the sockets of a port.
type survey struct {
	rows  []row // sockets with their processes, or 0 for those that none has
	bare  []row // all sockets without their processes; empty if they were not listed
	blind bool  // rows has only this user's processes

	process   func(row) Process
	ephemeral func(port uint16) bool // the system gives such ports to clients
	self      int                    // the process id of this process
	overTime  bool                   // SO_REUSEADDR lets a server bind over what connections left
	alone     bool                   // an address conflicts with itself only, not with all addresses
}

// inTheWay returns how much of a conflict r is for a: 2 if it is the same address, 1 if
// one of the two is an address and the other is all addresses, 0 if they do not meet.
func (a attempt) inTheWay(r row) int {
	if r.network[:3] != a.network[:3] || r.local.Port() != a.local.Port() {
		return 0
	}
	asked, has := a.local.Addr().Unmap(), r.local.Addr()
	v4, v6 := !strings.HasSuffix(a.network, "6"), !strings.HasSuffix(a.network, "4")
	switch {
	case !asked.IsValid():
	case asked.Is4():
		v6 = false
	case !asked.IsUnspecified():
		v4 = false
	}
	all := !asked.IsValid() || asked.IsUnspecified()
	is4 := has.Is4()
	switch {
	case all && has.IsUnspecified() && (is4 && v4 || !is4 && v6):
		return 2
	case all && has.IsUnspecified() && v4 && !is4: // [::], which may take IPv4 as well
		return 1
	case all:
		if is4 && v4 || !is4 && v6 {
			return 1
		}
	case has.IsUnspecified():
		if is4 && v4 || !is4 { // an address of IPv4 may be [::]'s, too
			return 1
		}
	case asked.WithZone("") == has.WithZone("") && sameZone(asked.Zone(), has.Zone()):
		return 2
	}
	return 0
}

// judge says of a refused address what the survey tells. It returns nil if nothing
// that it tells is in the way.
func (a attempt) judge(me asker, s survey) *finding {
	f := &finding{attempt: a, asker: me, facts: facts{}, alone: true}
	own := func(rs []row) []row {
		return slices.DeleteFunc(slices.Clone(rs), func(r row) bool { return r.pid == 0 })
	}
	none := func(rs []row) []row {
		return slices.DeleteFunc(slices.Clone(rs), func(r row) bool { return r.pid != 0 })
	}
	bare := slices.Concat(none(s.rows), s.bare)
	seen := own(s.rows)
	if live := a.conflicting(seen, false, s.alone); len(live) > 0 {
		f.holders = s.holders(live)
		f.live(s)
		return f
	}
	if live := a.conflicting(bare, false, s.alone); len(live) > 0 {
		f.holders = s.holders(live)
		f.cause = CauseNoProcess
		if s.blind {
			f.cause, f.unseen = CauseHidden, []string{"which process it is, as it is another user's"}
		}
		return f
	}
	f.passes.addr = s.overTime
	if open := a.conflicting(seen, true, s.alone); len(open) > 0 {
		f.holders = s.holders(open)
		f.cause = CauseConnection
		if s.ephemeral != nil && s.ephemeral(a.local.Port()) {
			f.cause = CauseOutgoing
		}
		return f
	}
	open := a.conflicting(bare, true, s.alone)
	isOpen := func(r row) bool { return r.state == "ESTABLISHED" || r.state == "CLOSE_WAIT" || r.state == "SYN_SENT" }
	if slices.ContainsFunc(open, isOpen) && s.blind {
		f.holders = s.holders(slices.DeleteFunc(open, func(r row) bool { return !isOpen(r) }))
		f.cause, f.unseen = CauseHidden, []string{"which process it is, as it is another user's"}
		return f
	}
	if len(open) > 0 && s.overTime {
		f.holders = s.holders(open)
		f.cause = CauseLeftover
		return f
	}
	return nil
}

// conflicting returns the rows that are in the way: connections, or what is none. Where
// something has the very address, the rest is not, unless a is asked about as a bind
// without options, which the rest refuses as well.
func (a attempt) conflicting(rows []row, connected, alone bool) (all []row) {
	best := 0
	for _, r := range rows {
		if r.connected() == connected {
			best = max(best, a.inTheWay(r))
		}
	}
	least := best
	if a.check && !alone {
		least = min(best, 1)
	}
	for _, r := range rows {
		if way := a.inTheWay(r); r.connected() == connected && way > 0 && way >= least {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(r, q row) int { return cmp.Compare(a.inTheWay(q), a.inTheWay(r)) })
	return all
}

// live says which cause it is that sockets which are no connections are in the way.
func (f *finding) live(s survey) {
	f.cause = CauseListener
	decisive := f.holders[0]
	ours := slices.ContainsFunc(decisive.Processes, func(p Process) bool { return p.PID == s.self })
	asked := f.attempt.local.Addr().Unmap()
	all := !asked.IsValid() || asked.IsUnspecified()
	switch {
	case ours && !f.attempt.check:
		f.cause = CauseSelf
		f.facts["self"] = alreadyOurs
	case decisive.State == "BOUND":
		f.cause = CauseBound
	case len(decisive.Processes) > 1:
		f.cause = CauseInherited
	case all && len(f.holders) == 1 && !decisive.Local.Addr().IsUnspecified():
		f.cause = CauseOneAddress
	case f.isIPv4() && len(f.holders) == 1 && decisive.Local.Addr() == netip.IPv6Unspecified():
		f.cause = CauseDualStack
	}
}

// isIPv4 reports whether an address of IPv4 is asked for.
func (f *finding) isIPv4() bool {
	return f.attempt.local.Addr().Unmap().Is4() || strings.HasSuffix(f.attempt.network, "4")
}

// holders makes holders of rows: one for each socket, with all that have it, and one for
// connections that are alike.
func (s survey) holders(rows []row) (all []Holder) {
	index := map[row]int{}
	for _, r := range rows {
		key := row{network: r.network, local: r.local, path: r.path, state: r.state, socket: r.socket, uid: r.uid}
		switch {
		case r.connected():
			key.socket = ""
		case r.socket == "" && r.pid != 0:
			key.pid = s.family(rows, r)
		}
		i, known := index[key]
		if !known {
			i = len(all)
			index[key] = i
			all = append(all, s.holder(r))
		}
		h := &all[i]
		if r.connected() && known {
			h.Count++
		}
		if r.pid != 0 && !slices.ContainsFunc(h.Processes, func(p Process) bool { return p.PID == r.pid }) {
			h.Processes = append(h.Processes, s.process(r))
		}
	}
	for i := range all {
		all[i].settle()
	}
	return all
}

// listed returns holders with their names, for a list: no cause gives them others.
func (s survey) listed(rows []row) []Holder {
	all := s.holders(rows)
	for i := range all {
		all[i].Name = all[i].nameOf()
	}
	return all
}

// family returns which of the processes that have the same address as r began it: one
// that is the parent of the others, as far as that is known. So sockets are told apart
// where the system does not.
func (s survey) family(rows []row, r row) int {
	parent := func(r row) int {
		if r.parent == 0 {
			return s.process(r).Parent
		}
		return r.parent
	}
	for range rows { // ends also if parents go round in circles
		wanted := parent(r)
		up := slices.IndexFunc(rows, func(q row) bool {
			return q.pid == wanted && q.pid != 0 && q.pid != r.pid && q.local == r.local && q.network == r.network
		})
		if up < 0 {
			break
		}
		r = rows[up]
	}
	return r.pid
}

func (s survey) holder(r row) Holder {
	h := Holder{
		Network: r.network, Local: r.local, Path: r.path, State: r.state, Count: 1, UID: r.uid, User: r.user,
		Options: r.options, unit: unit{user: -1},
	}
	if r.connected() || strings.HasPrefix(r.network, "udp") {
		h.Remote = r.remote
	}
	if strings.HasPrefix(r.network, "udp") {
		h.State = "CLOSE"
		if r.remote.IsValid() {
			h.State = "ESTABLISHED"
		}
	}
	if r.path != "" {
		h.State = "LISTEN"
		if r.network == "unixgram" {
			h.State = "CLOSE"
		}
	}
	return h
}

// settle puts the oldest process first, says who got the socket from whom, and lets what
// manages a process manage those that it started.
func (h *Holder) settle() {
	slices.SortStableFunc(h.Processes, func(p, q Process) int {
		return cmp.Or(p.Started.Compare(q.Started), cmp.Compare(p.PID, q.PID))
	})
	parent := func(i int) int {
		return slices.IndexFunc(h.Processes, func(q Process) bool { return q.PID == h.Processes[i].Parent })
	}
	for i := range h.Processes {
		// Ages are in seconds, and process ids need not grow.
		if j := parent(i); j > i && h.Processes[j].Started.Equal(h.Processes[i].Started) {
			first := h.Processes[j]
			h.Processes = slices.Insert(slices.Delete(h.Processes, j, j+1), i, first)
		}
	}
	for i := range h.Processes {
		p := &h.Processes[i]
		p.Inherited = i > 0
		if j := parent(i); j >= 0 && j < i && managers[p.unit.kind] == nil {
			p.unit = h.Processes[j].unit
		}
	}
}

// free says that the address can be bound.
func (a attempt) free(me asker) *finding {
	f := a.because(CauseFree, nil)
	f.asker = me
	return f
}

// ianaEphemeral reports whether the port is one of those for clients (RFC 6335).
func ianaEphemeral(port uint16) bool { return port >= 49152 }
