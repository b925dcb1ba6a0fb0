//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package inuse

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"
)

// find returns what explains a, or nil if nothing does.
func (a attempt) find(ctx context.Context) *finding {
	me := newAsker()
	if a.path != "" {
		return a.findPath(ctx, me)
	}
	switch {
	case a.refusal == refusedInvalid:
		return a.invalid(ctx)
	case a.refusal == refusedNotAvailable && a.call != "connect":
		return a.notAvailable(ctx)
	case a.local.Port() == 0:
		return nil
	case a.refusal == refusedNotPermitted:
		return a.lowPortRefused(ctx, me)
	}
	return a.surveyed(ctx, runtime.GOOS, me, attempt.bindPlain)
}

// checkAddress is find where nothing has failed. A bind without options says whether a
// TCP address is free, and if not, why.
func (a attempt) checkAddress(ctx context.Context) *finding {
	a.check = true
	if a.path == "" && a.network[:3] == "tcp" {
		err := a.bindPlain()
		if err == nil {
			return a.free(newAsker())
		}
		if refusal := refusalOf(err); refusal != 0 {
			a.refusal = refusal
		}
	}
	return a.find(ctx)
}

// listening returns all that listens.
func listening(ctx context.Context) ([]Holder, asker, sight, error) {
	return listeningOn(ctx, runtime.GOOS)
}

// lowPortRefused explains why this user may not have the port. Who has it comes first.
func (a attempt) lowPortRefused(ctx context.Context, me asker) *finding {
	if a.local.Port() >= lowPorts || me.root {
		return nil
	}
	if s, err := a.survey(ctx, runtime.GOOS, me); err == nil {
		if f := a.judge(me, s); f != nil {
			f.also(a.low(me, runtime.GOOS))
			return f
		}
	}
	return a.low(me, runtime.GOOS)
}

// ephemeralPort reports whether the system gives the port to clients.
func ephemeralPort(port uint16) bool {
	var first, last string
	switch runtime.GOOS {
	case "darwin":
		first, last = "net.inet.ip.portrange.first", "net.inet.ip.portrange.last"
	case "freebsd", "dragonfly":
		first, last = "net.inet.ip.portrange.first", "net.inet.ip.portrange.last"
	case "netbsd":
		first, last = "net.inet.ip.anonportmin", "net.inet.ip.anonportmax"
	case "openbsd":
		first, last = "net.inet.ip.portfirst", "net.inet.ip.portlast"
	}
	from, err := unix.SysctlUint32(first)
	to, failed := unix.SysctlUint32(last)
	if err != nil || failed != nil {
		return ianaEphemeral(port)
	}
	return uint32(port) >= min(from, to) && uint32(port) <= max(from, to)
}
