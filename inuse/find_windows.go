package inuse

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/windows"
)

// find returns what explains a, or nil if nothing does.
//
// Windows says of a port that somebody has "in use" or, if he has it exclusively
// (SO_EXCLUSIVEADDRUSE), "access denied" (WSAEACCES), which it says as well of ports that
// it has set aside for virtual machines and others.
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
	}
	f := a.findPort(ctx, me)
	if f != nil {
		f.asker = me
	}
	return f
}

// findPort finds out who has a port, or why nobody may have it.
func (a attempt) findPort(ctx context.Context, me asker) *finding {
	rows, err := socketRows()
	if err != nil {
		return a.because(CauseUnknown, facts{"what": err.Error()})
	}
	c := windowsCensus()
	s := survey{rows: rows, process: c.process, self: os.Getpid(), ephemeral: ianaEphemeral, alone: true}
	if f := a.judge(me, s); f != nil {
		if f.cause == CauseNoProcess {
			f.instead = []string{}
		}
		if a.refusal == refusedNotPermitted {
			f.why = "Windows says \"access denied\" of a port that somebody has exclusively."
		}
		return f
	}
	if first, last, ok := a.setAside(ctx); ok {
		return a.setAsideFor(first, last)
	}
	switch {
	case ctx.Err() != nil:
		return a.because(CauseUnknown, facts{"what": "not all could be looked at"})
	case a.network[:3] == "udp" && a.check:
		return a.because(CauseFree, nil)
	case a.network[:3] == "udp":
		return nil
	}
	switch err := a.bindPlain(); {
	case err == nil:
		return a.because(CauseFree, nil)
	case !a.check:
		return nil
	default:
		errno := err
		if inner := errors.Unwrap(err); inner != nil {
			errno = inner
		}
		return a.because(CauseUnknown, facts{"what": "Windows refuses it (" + strings.TrimSuffix(errno.Error(), ".") + ")"})
	}
}

// netsh asks Windows for the ports that it has set aside.
func netsh(system32, version, protocol string) tool {
	return tool{
		paths: []string{system32 + `\netsh.exe`},
		args:  []string{"interface", "ipv" + version, "show", "excludedportrange", "protocol=" + protocol},
	}
}

// setAside returns the range of ports that Windows has set aside, and that has the port.
func (a attempt) setAside(ctx context.Context) (first, last uint16, ok bool) {
	system32, err := windows.GetSystemDirectory()
	if err != nil {
		return 0, 0, false
	}
	for _, version := range []string{"4", "6"} {
		out, err := netsh(system32, version, a.network[:3]).run(ctx)
		if err != nil {
			continue
		}
		if first, last, ok = excludedRange(out, a.local.Port()); ok {
			return first, last, true
		}
	}
	return 0, 0, false
}

// checkAddress is find where nothing has failed.
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
	me := newAsker()
	rows, err := socketRows()
	if err != nil {
		return nil, me, sight{}, err
	}
	live := rows[:0]
	for _, r := range rows {
		if r.local.Port() != 0 && (r.state == "LISTEN" || !r.stream()) {
			live = append(live, r)
		}
	}
	return survey{rows: live, process: windowsCensus().process}.listed(live), me, sight{}, ctx.Err()
}

// bindPlain binds a TCP socket without options to the address, does not listen, and
// closes it.
func (a attempt) bindPlain() error {
	addr := a.local.Addr().Unmap()
	family := windows.AF_INET6
	if addr.Is4() || strings.HasSuffix(a.network, "4") {
		family = windows.AF_INET
	}
	fd, err := windows.WSASocket(int32(family), windows.SOCK_STREAM, windows.IPPROTO_TCP, nil, 0, windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer windows.Closesocket(fd)
	if family == windows.AF_INET {
		sa := &windows.SockaddrInet4{Port: int(a.local.Port())}
		if addr.Is4() {
			sa.Addr = addr.As4()
		}
		return os.NewSyscallError("bind", windows.Bind(fd, sa))
	}
	only := 1
	if (!addr.IsValid() || addr.IsUnspecified()) && !strings.HasSuffix(a.network, "6") {
		only = 0
	}
	if err := windows.SetsockoptInt(fd, windows.IPPROTO_IPV6, windows.IPV6_V6ONLY, only); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	sa := &windows.SockaddrInet6{Port: int(a.local.Port()), ZoneId: zoneID(addr)}
	if addr.Is6() {
		sa.Addr = addr.As16()
	}
	return os.NewSyscallError("bind", windows.Bind(fd, sa))
}
