package inuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/reuse/internal/sockfile"
)

// Check reports why an address cannot be bound right now, by a socket without
// options: what Explain would say of the error that the kernel gives. Network and
// address are those of net.Listen and net.ListenPacket. The Cause is [CauseFree] if
// the address can be bound, and [CauseUnknown] if that is not known.
//
// A name for a host stands for each of its addresses: Check reports the first that is
// in use, or else the first that cannot be used. It looks names up with ctx.
//
// Check takes connections and datagrams from nobody. When ctx ends it reports what it
// has found so far, but never that an address is free that it has not seen to be.
//
// The error is an [*AddressError] if network or address are wrong or the host is
// unknown.
func Check(ctx context.Context, network, address string) (*Error, error) {
	c := checker{
		look:   attempt.checkAddress, // check_linux.go, find_bsd.go and so on
		lookup: net.DefaultResolver.LookupNetIP,
	}
	return c.check(ctx, network, address)
}

// A checker is what Check asks.
type checker struct {
	look   func(attempt, context.Context) *finding // what a bind of one address would meet
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// An AddressError says what is wrong with a network or an address.
type AddressError struct {
	Problem string // a sentence for people, without a full stop
	Err     error  // package net's, or nil
}

// Error returns e.Problem.
func (e *AddressError) Error() string { return e.Problem }

// Unwrap returns e.Err.
func (e *AddressError) Unwrap() error { return e.Err }

func addressError(err error, format string, args ...any) error {
	return &AddressError{fmt.Sprintf(format, args...), err}
}

// check is Check.
func (c checker) check(ctx context.Context, network, address string) (*Error, error) {
	limit := limitOf(ctx)
	a := attempt{network: network, refusal: refusedInUse, check: true}
	switch network {
	case "unix", "unixgram", "unixpacket":
		if address == "" {
			return nil, addressError(nil, "the path is empty")
		}
		a.path = address
		a.err = a.refused(errInUse)
		return c.seen(ctx, a, limit).checked(), nil
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return nil, addressError(net.UnknownNetworkError(network), "%q is not supported: tcp, udp and unix are", network)
	}
	host, port, err := splitAddress(ctx, network, address)
	if err != nil {
		return nil, err
	}
	addrs, err := c.addresses(ctx, network, host)
	if _, wrong := errors.AsType[*AddressError](err); wrong {
		return nil, err
	}
	if err != nil {
		a.err, a.host, a.local = err, host, netip.AddrPortFrom(netip.Addr{}, port)
		return a.because(CauseUnknown, facts{"what": "the addresses of " + host + " could not be looked up" + limit.suffix(ctx)}).checked(), nil
	}
	var all []*finding
	for _, addr := range addrs {
		a.local = netip.AddrPortFrom(addr.Addr, port)
		a.err = a.refused(errInUse)
		if addr.named {
			a.host = host
		}
		f := c.seen(ctx, a, limit)
		if addr.guessed && !f.cause.held() {
			continue
		}
		all = append(all, f)
	}
	return decisive(all).checked(), nil
}

// checked returns the explanation of what was found. Nothing has failed if it is free.
func (f *finding) checked() *Error {
	e := f.error()
	if e.Cause == CauseFree || e.Cause == CauseUnknown {
		e.Err = nil
	}
	return e
}

// refused returns what package net says when the kernel refuses a.
func (a attempt) refused(err error) error {
	op := &net.OpError{Op: "listen", Net: a.network, Err: err}
	switch ip := net.IP(a.local.Addr().AsSlice()); {
	case a.path != "":
		op.Addr = &net.UnixAddr{Net: a.network, Name: a.path}
	case strings.HasPrefix(a.network, "udp"):
		op.Addr = &net.UDPAddr{IP: ip, Port: int(a.local.Port()), Zone: a.local.Addr().Zone()}
	default:
		op.Addr = &net.TCPAddr{IP: ip, Port: int(a.local.Port()), Zone: a.local.Addr().Zone()}
	}
	return op
}

// seen looks at a. It does not take for free what was not seen.
func (c checker) seen(ctx context.Context, a attempt, limit limit) *finding {
	f := c.look(a, ctx)
	if f != nil && f.cause == CauseFree && a.path != "" && sockfile.IsFile(a.path) {
		// Nothing is there. Whether anything can come there the directory decides.
		b := a
		b.refusal, b.err = refusedPath, a.refused(os.NewSyscallError("bind", syscall.ENOENT))
		if g := c.look(b, ctx); g != nil {
			f = g
		}
	}
	switch {
	case f == nil:
		f = a.because(CauseUnknown, facts{"what": "the system refuses it without a reason that it shows"})
	case ctx.Err() != nil && (f.cause == CauseFree || f.cause == CauseUnknown):
		f = a.because(CauseUnknown, facts{"what": "not all sockets could be read" + limit.suffix(ctx)})
	}
	f.attempt.host, f.attempt.local = a.host, a.local
	return f
}

// A limit is the time that a look has; 0 if it has no bound.
type limit time.Duration

func limitOf(ctx context.Context) limit {
	if deadline, ok := ctx.Deadline(); ok {
		return limit(max(time.Until(deadline), 0))
	}
	return 0
}

// suffix says when a look ended whose context has.
func (l limit) suffix(ctx context.Context) string {
	d := time.Duration(l)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return " before the look was interrupted"
	case ctx.Err() == nil, d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf(" in %d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf(" in %d s", int(d.Round(time.Second)/time.Second))
}

// splitAddress returns the host and port of an address.
func splitAddress(ctx context.Context, network, address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, addressError(err, "%q is no address: a host, a colon and a port are", address)
	}
	n, err := strconv.Atoi(service)
	if errors.Is(err, strconv.ErrSyntax) {
		n, err = net.DefaultResolver.LookupPort(ctx, network, service)
	}
	switch {
	case n > 65535 || errors.Is(err, strconv.ErrRange):
		return "", 0, addressError(err, "%q is no port: ports go up to 65535", service)
	case err != nil || n < 0 || service == "":
		return "", 0, addressError(err, "%q is no port, nor the name of a service", service)
	}
	return host, uint16(n), nil
}

// A hostAddress is one of the addresses for which a host stands.
type hostAddress struct {
	netip.Addr      // not valid if the host was left out
	named      bool // by a name
	guessed    bool // the name has it by convention
}

// addresses returns the addresses of a host, of the network's IP version.
func (c checker) addresses(ctx context.Context, network, host string) (all []hostAddress, err error) {
	version := strings.TrimLeft(network, "tcpud")
	fits := func(a hostAddress) bool { return version == "" || a.Is4() == (version == "4") }
	addr, parseErr := netip.ParseAddr(host)
	switch {
	case host == "":
		return []hostAddress{{}}, nil
	case parseErr == nil:
		all = append(all, hostAddress{Addr: addr.Unmap()})
	case !isHostName(host):
		return nil, addressError(parseErr, "%q is no host", host)
	default:
		addrs, err := c.lookup(ctx, "ip", host)
		for _, addr := range addrs {
			all = append(all, hostAddress{Addr: addr.Unmap(), named: true})
		}
		if strings.TrimSuffix(strings.ToLower(host), ".") == "localhost" {
			// By RFC 6761 it is both, whatever the file of hosts says.
			for _, addr := range []string{"127.0.0.1", "::1"} {
				all = append(all, hostAddress{Addr: netip.MustParseAddr(addr), named: true, guessed: err == nil})
			}
			err = nil
		}
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return nil, addressError(err, "no host is called %q", host)
		}
		if err != nil {
			return nil, err
		}
	}
	seen := map[netip.Addr]bool{}
	all = slices.DeleteFunc(all, func(a hostAddress) bool {
		again := seen[a.Addr]
		seen[a.Addr] = true
		return again || !fits(a)
	})
	if len(all) == 0 {
		verb := map[bool]string{true: "is", false: "has"}[parseErr == nil]
		return nil, addressError(nil, "%s %s no IPv%s address", host, verb, version)
	}
	return all, nil
}

// isHostName reports whether s has the form of a name that can be looked up.
func isHostName(s string) bool {
	const most = 255
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' ||
			r > 0x7f && isPrintable(r))
	})
}

// held reports whether something has the address, so that it is not free for anybody.
func (c Cause) held() bool {
	switch c {
	case CauseSelf, CauseListener, CauseOneAddress, CauseDevice, CauseDualStack, CauseOtherUser, CauseInherited, CauseBound,
		CauseLeftover, CauseConnection, CauseOutgoing, CauseKernel, CauseNoProcess, CauseOtherNetns, CauseHidden, CauseStalePerhaps:
		return true
	}
	return false
}

// decisive returns the finding that speaks for all addresses of a host: the first
// that is held, then the first that cannot be used, then the first of which nothing is
// known. What it does not say of the others is a hint.
func decisive(all []*finding) *finding {
	free := slices.ContainsFunc(all, func(f *finding) bool { return f.cause == CauseFree })
	rank := func(f *finding) int {
		switch {
		case f.cause.held():
			return 0
		case f.cause == CauseFree:
			return 3
		case f.cause == CauseIPv6Off && free:
			return 4 // resolvers leave such an address out
		case f.cause == CauseUnknown:
			return 2
		}
		return 1
	}
	first := slices.MinFunc(all, func(f, g *finding) int { return cmp.Compare(rank(f), rank(g)) })
	if len(all) == 1 || first.cause == CauseFree {
		return first
	}
	var others, used []string
	for _, f := range all {
		where := f.attempt.local.String()
		switch {
		case f.cause == CauseFree:
			others = append(others, where)
		case f != first && f.cause.held() && !sameHolders(f.holders, first.holders):
			used = append(used, where)
		}
	}
	hint, has := "", fmt.Sprintf(": %s has %s addresses", first.attempt.host, inWords(len(all)))
	switch {
	case len(others) > 0:
		hint = list(others) + " " + areOrIs(others) + " free" + has
	case len(used) > 0:
		hint = list(used) + " " + areOrIs(used) + " in use as well" + has
	default:
		return first
	}
	first.hints = append([]string{hint}, first.hints...)
	return first
}

// sameHolders reports whether the same sockets are in the way, such as those at [::].
func sameHolders(a, b []Holder) bool {
	return slices.EqualFunc(a, b, func(g, h Holder) bool {
		return g.Network == h.Network && g.Local == h.Local && g.State == h.State &&
			slices.EqualFunc(g.Processes, h.Processes, func(p, q Process) bool { return p.PID == q.PID })
	})
}

func areOrIs(words []string) string {
	if len(words) == 1 {
		return "is"
	}
	return "are"
}

// inWords returns a small number as people write it.
func inWords(n int) string {
	words := [...]string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}
