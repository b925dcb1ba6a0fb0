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
// netlink and with or without /proc. On macOS and the BSDs it asks their tools (lsof,
// sockstat, netstat, ps), on Windows its tables of sockets. On AIX, Solaris and illumos
// it knows whether a TCP address is free, not who has it. On other systems Explain
// returns errors unchanged. docs/portability.md says what was run, and what only
// compiled.
package inuse

import (
	"context"
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
	if f := a.find(ctx); f != nil {
		f.asker.program = program()
		return f.error()
	}
	return a.err
}

// An Error is the error of a failed bind with its explanation. Every text in it
// is printable: what another process or user chose, such as the name of a
// command, has a question mark in place of each control character.
type Error struct {
	Err      error    // what was explained; Unwrap returns it. Check has none if the address is free, or that is not known
	Cause    Cause    // why the address cannot be bound
	Holders  []Holder // the sockets in the way, the decisive one first
	Remedies []Remedy // what helps, the best one first
	Unseen   []string // what could not be seen, and may matter
	Hints    []string // what else is worth knowing

	headline, clause string // what is said of Cause
	state, file, why string
	class            class
	now              time.Time
	root             bool
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }
