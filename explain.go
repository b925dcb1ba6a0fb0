package reuse

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

// explainTime is how long Explain looks.
const explainTime = time.Second

// Explain returns err with an explanation, an [*InUseError] that wraps it: who
// holds the address that could not be bound, and the one change that helps.
//
//	ln, err := reuse.Listen("tcp", ":9999")
//	if err != nil {
//		log.Fatal(reuse.Explain(err))
//	}
//
// It takes the error of a Listen, a ListenPacket or, with a local address, a
// Dial, of this package or of package net, also if wrapped: EADDRINUSE,
// EADDRNOTAVAIL, EACCES of a low port, EINVAL of a link-local address. Every
// other error, nil included, is returned unchanged, at no cost.
//
// The address is looked at anew, so the explanation tells how things are now;
// [CauseFree] means that it can be bound by now. To find out which option would
// help, TCP ports are bound on trial, with SO_REUSEADDR and without listening;
// UDP ports are not, since that would take the holder's datagrams. The holder
// notices nothing. It works for any user, and without netlink. What this process
// may not see of others is in Unseen.
//
// On Linux it takes some milliseconds, and at most about a second, after which
// it reports what it has; [ExplainContext] sets another bound. On other systems
// it explains addresses that the host does not have, link-local addresses
// without a zone, and paths of unix sockets; the rest is returned unchanged.
func Explain(err error) error {
	a, ok := attemptOf(err)
	if !ok {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), explainTime)
	defer cancel()
	return a.explained(ctx)
}

// ExplainContext is [Explain] with a bound of one's own. When ctx ends it
// reports what it has found so far.
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
		return e
	}
	return a.err
}

// An InUseError is the error of a failed bind with its explanation.
type InUseError struct {
	Err     error    // what was explained; Unwrap returns it
	Cause   Cause    // why the address cannot be bound, of the first Holder if there are any
	Holders []Holder // the sockets in the way, the decisive one first
	Advice  string   // the change that helps
	Unseen  []string // what could not be seen, and why
	Changed bool     // sockets came and went during the look, so that it may be out of date
}

// Unwrap returns e.Err.
func (e *InUseError) Unwrap() error { return e.Err }

// A Cause says why an address cannot be bound.
type Cause string

// The causes. Of those up to CauseHidden there is a Holder, unless it is bound
// only: Linux 6.1 lists no such sockets, 6.12 does, and procfs never.
const (
	CauseSelf      Cause = "self"       // this very process holds the address
	CauseListener  Cause = "listener"   // a live socket that does not share it
	CauseSharing   Cause = "sharing"    // a live socket that shares it with Port
	CauseOtherUser Cause = "other-user" // a live socket that shares it, but with another user only
	CauseInherited Cause = "inherited"  // a live socket that several processes have, one from the other
	CauseDualStack Cause = "dual-stack" // a live socket of the other IP version: a wildcard [::] holds IPv4 as well
	CauseBound     Cause = "bound"      // a socket that is bound, but does not listen
	CauseLeftover  Cause = "leftover"   // a connection left by a former listener; Addr passes it
	CauseStubborn  Cause = "stubborn"   // the same, but made without SO_REUSEADDR: no option passes it
	CauseOutgoing  Cause = "outgoing"   // a client's connection, which got the port for its own
	CauseHidden    Cause = "hidden"     // a live socket whose process cannot be seen from here

	CausePrivileged Cause = "privileged" // a low port takes a right that this process lacks
	CauseNotLocal   Cause = "not-local"  // this host does not have the address
	CauseExhausted  Cause = "exhausted"  // all ephemeral ports are taken
	CauseNoZone     Cause = "no-zone"    // a link-local address lacks its zone
	CauseStale      Cause = "stale"      // the file of a unix socket nobody has; Addr replaces it
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

	// Options are those that the socket has. They are known of sockets whose
	// process this one may trace (ptrace(2)).
	Options      Mode
	OptionsKnown bool
}

// A Process has a socket.
type Process struct {
	PID     int
	Command string // without arguments
	Heir    bool   // it got the socket from another one of the Holder's processes, which is older
}

// A refusal is why the kernel refused to bind an address.
type refusal uint8

const (
	refusedInUse        refusal = iota + 1 // EADDRINUSE
	refusedNotAvailable                    // EADDRNOTAVAIL
	refusedNotPermitted                    // EACCES
	refusedInvalid                         // EINVAL
)

// An attempt is what failed.
type attempt struct {
	err     error
	refusal refusal
	network string // "tcp", "tcp4", …
	dial    bool
	call    string         // the system call that failed, "" if unknown
	local   netip.AddrPort // of networks tcp and udp; the address is not valid if it was left out
	remote  netip.AddrPort // of a dial
	path    string         // of networks unix
}

// attemptOf returns the attempt that err tells of, if it is one to explain.
func attemptOf(err error) (a attempt, ok bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "listen" && op.Op != "dial" {
		return a, false
	}
	refusal := refusalOf(op.Err)
	if _, done := errors.AsType[*InUseError](err); refusal == 0 || done {
		return a, false
	}
	a = attempt{err: err, refusal: refusal, network: op.Net, dial: op.Op == "dial"}
	if call, ok := errors.AsType[*os.SyscallError](op.Err); ok {
		a.call = call.Syscall
	}
	local := op.Addr
	if a.dial {
		local = op.Source
		a.remote, _ = addrPortOf(op.Addr)
	}
	if path, ok := local.(*net.UnixAddr); ok && path != nil {
		a.path = path.Name
		return a, a.path != ""
	}
	a.local, ok = addrPortOf(local)
	return a, ok || a.dial && a.remote.IsValid()
}

// addrPortOf returns the address of a TCP or UDP socket. Its Addr is not valid
// if it was left out, as in ":9999".
func addrPortOf(addr net.Addr) (_ netip.AddrPort, ok bool) {
	var ip net.IP
	var port int
	var zone string
	switch addr := addr.(type) {
	case *net.TCPAddr:
		if addr == nil {
			return netip.AddrPort{}, false
		}
		ip, port, zone = addr.IP, addr.Port, addr.Zone
	case *net.UDPAddr:
		if addr == nil {
			return netip.AddrPort{}, false
		}
		ip, port, zone = addr.IP, addr.Port, addr.Zone
	default:
		return netip.AddrPort{}, false
	}
	parsed, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(parsed.Unmap().WithZone(zone), uint16(port)), true
}

// because returns an explanation without holders.
func (a attempt) because(cause Cause, advice string) *InUseError {
	return &InUseError{Err: a.err, Cause: cause, Advice: advice}
}
