// Package inuse explains why an address cannot be bound: who holds it, and the
// one change that helps.
//
//	ln, err := net.Listen("tcp", ":9999")
//	if err != nil {
//		log.Fatal(inuse.Explain(err))
//	}
//
// It is for errors of package net, of whichever package opened the socket, and
// opens no sockets for its callers. The command cmd/whyinuse does the same for
// servers in any language.
//
// # Systems
//
// On Linux it explains all of what [Cause] lists, for any user, with or without
// netlink and with or without /proc. On other systems it explains addresses that
// the host does not have, link-local addresses without a zone and, on macOS and the
// BSDs, the paths of unix sockets, though not who has them.
package inuse

import (
	"context"
	"net/netip"
	"time"
)

// explainTime is how long Explain looks.
const explainTime = time.Second

// Explain returns err with an explanation, an [*Error] that wraps it: who holds
// the address that could not be bound, and the one change that helps.
//
// It takes the error of a listen of package net or, with a local address, of a
// dial, also if wrapped: EADDRINUSE, EADDRNOTAVAIL, EACCES of a low port, EINVAL
// of a link-local address. Every other error, nil included, is returned
// unchanged, at no cost. So is an error that has no explanation.
//
// Explain looks at the address anew, so it reports how things are now;
// [CauseFree] means that the address can be bound by now. To find out which option
// would help, it binds TCP ports on trial, with SO_REUSEADDR and without
// listening. It does not bind UDP ports, since that would take the holder's
// datagrams. The holder notices nothing. What this process may not see of others
// is in Unseen.
//
// On Linux it takes some milliseconds, and at most about a second, after which it
// reports what it has; [ExplainContext] sets another bound.
func Explain(err error) error {
	a, ok := attemptOf(err)
	if !ok {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), explainTime)
	defer cancel()
	return a.explained(ctx)
}

// ExplainContext is [Explain] with the bound of ctx. When ctx ends it reports what
// it has found so far.
func ExplainContext(ctx context.Context, err error) error {
	a, ok := attemptOf(err)
	if !ok {
		return err
	}
	return a.explained(ctx)
}

// explained returns a's error with its explanation, or as it is if there is none.
func (a attempt) explained(ctx context.Context) error {
	if e := a.explain(ctx); e != nil {
		return e.printable()
	}
	return a.err
}

// An Error is the error of a failed bind with its explanation. Every text in it
// is printable: what another process or user chose, such as the name of a
// command, has a question mark in place of each control character.
type Error struct {
	Err     error    // what was explained; Unwrap returns it
	Cause   Cause    // why the address cannot be bound, of the first Holder if there are any
	Holders []Holder // the sockets in the way, the decisive one first
	Advice  string   // the change that helps
	Unseen  []string // what could not be seen, and why
	Changed bool     // sockets came and went during the look, so that it may be out of date

	reason string // of CauseUnknown, if more is known than that
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// A Cause says why an address cannot be bound.
type Cause string

// The causes above CausePrivileged come with at least one Holder. There are two
// exceptions: CauseBound, whose socket Linux lists from 6.12 or so on, and procfs
// never; and a unix socket whose file the kernel does not tell.
const (
	CauseSelf      Cause = "self"       // this very process holds the address
	CauseListener  Cause = "listener"   // a live socket that does not share it
	CauseSharing   Cause = "sharing"    // a live socket that shares it with SO_REUSEPORT
	CauseOtherUser Cause = "other-user" // a live socket that shares it, but with another user only
	CauseInherited Cause = "inherited"  // a live socket that several processes have, one from the other
	CauseDualStack Cause = "dual-stack" // a live socket of the other IP version: a wildcard [::] holds IPv4 as well
	CauseBound     Cause = "bound"      // a socket that is bound, but does not listen
	CauseLeftover  Cause = "leftover"   // a connection left by a former listener; SO_REUSEADDR passes it
	CauseStubborn  Cause = "stubborn"   // the same, but made without SO_REUSEADDR: no option passes it
	CauseOutgoing  Cause = "outgoing"   // a client's connection, which got the port for its own
	CauseHidden    Cause = "hidden"     // a live socket whose process cannot be seen from here

	CausePrivileged Cause = "privileged" // a low port takes a right that this process lacks
	CauseNotLocal   Cause = "not-local"  // this host does not have the address
	CauseExhausted  Cause = "exhausted"  // all ephemeral ports are taken
	CauseNoZone     Cause = "no-zone"    // a link-local address lacks its zone
	CauseStale      Cause = "stale"      // the file of a unix socket nobody has; reuse.Listen replaces it
	CauseNotSocket  Cause = "not-socket" // the path is that of something else than a socket
	CauseFree       Cause = "free"       // nothing is in the way any more
	CauseUnknown    Cause = "unknown"    // the kernel refuses it, and shows no reason
)

// A Holder is a socket that is in the way, or several alike: connections with
// the same local address, state and user.
type Holder struct {
	Cause   Cause
	Network string         // "tcp4", "tcp6", "udp4", "udp6", "unix", "unixgram" or "unixpacket"
	Local   netip.AddrPort // zero for unix sockets
	Remote  netip.AddrPort // of one of the connections; else zero
	Path    string         // of a unix socket
	V6Only  bool           // IPV6_V6ONLY, as far as known
	State   string         // "LISTEN", "TIME_WAIT" and so on; "BOUND"; of UDP "CLOSE" or "ESTABLISHED"
	Count   int            // how many sockets, at least 1
	UID     int            // the owner of the socket; -1 if it is not known, or has none any more
	User    string         // its name in /etc/passwd, or ""
	Inode   uint32         // of the socket; 0 if no process has it
	Expires time.Duration  // until the last of them is gone by itself; 0 if that is not known

	// The processes that have the socket, the oldest first; of several
	// sockets, those that were found to have one. Empty if there are none, or
	// none that this process may see.
	Processes []Process
	Cgroup    string // path of the cgroup2 in which the socket was opened, or ""

	Options Options
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
	PID     int
	Command string // without arguments
	Heir    bool   // it inherited the socket from an older one of the Holder's processes
}
