//go:build unix

package inuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// survey asks the tools of a system, which runtime.GOOS names, for the sockets of the
// port. The error wraps errors.ErrUnsupported if none of them is there.
//
// Lsof shows an ordinary user his own processes only on macOS; sockstat shows all. Then,
// and where there is neither, netstat has the sockets, but not their processes.
func (a attempt) survey(ctx context.Context, system string, me asker) (survey, error) {
	protocol, port := a.network[:3], a.local.Port()
	s := survey{self: os.Getpid(), overTime: true, ephemeral: ephemeralPort}
	rows, whole, err := socketsOf(ctx, system, protocol, port)
	s.rows = rows
	s.blind = !whole && !me.root
	if err != nil || !slices.ContainsFunc(rows, func(r row) bool { return a.inTheWay(r) > 0 && !r.connected() }) {
		out, failed := netstat(system).run(ctx)
		if failed != nil && err != nil {
			return s, err
		}
		s.blind = s.blind || err != nil && failed == nil
		s.bare = unseen(parseNetstat(out), rows)
	}
	if slices.ContainsFunc(s.rows, func(r row) bool { return r.pid != 0 }) {
		s.process = takeCensus(ctx, system, me, port).process
	}
	return s, nil
}

// socketsOf returns the sockets of a port that processes have; of all ports if it is 0.
// It is the whole if the tool shows all users' processes to everybody.
func socketsOf(ctx context.Context, system, protocol string, port uint16) (rows []row, whole bool, err error) {
	switch system {
	case "freebsd", "dragonfly", "netbsd":
		out, err := sockstat(system, protocol, port).run(ctx)
		if err == nil || !errors.Is(err, errors.ErrUnsupported) {
			return parseSockstat(out), true, err
		}
	}
	out, err := lsofPort(protocol, port).run(ctx)
	return parseLsof(out), false, err
}

// unseen returns those of all sockets that are not among what processes have.
func unseen(all, seen []row) []row {
	type key struct {
		network, local, remote string
	}
	of := func(r row) key { return key{r.network[:3], r.local.String(), r.remote.String()} }
	known := map[key]bool{}
	for _, r := range seen {
		if r.network != "" {
			known[of(r)] = true
		}
	}
	return slices.DeleteFunc(all, func(r row) bool { return known[of(r)] })
}

// surveyed looks for what is in the way of a, which a bind with no options was refused
// with trial, or was not tried with. It returns nil if there is nothing to say.
func (a attempt) surveyed(ctx context.Context, system string, me asker, trial func(attempt) error) *finding {
	s, err := a.survey(ctx, system, me)
	if err == nil {
		if f := a.judge(me, s); f != nil {
			return f
		}
	}
	unknown := func(format string, args ...any) *finding {
		f := a.because(CauseUnknown, facts{"what": fmt.Sprintf(format, args...)})
		f.asker = me
		return f
	}
	if a.network[:3] == "tcp" { // a UDP socket would take datagrams
		if trial(a) == nil {
			return a.free(me)
		}
	}
	switch {
	case ctx.Err() != nil:
		return unknown("not all sockets could be read")
	case errors.Is(err, errors.ErrUnsupported) && !a.check:
		return nil
	case a.network[:3] == "tcp" && a.refusal == refusedInUse:
		why := "the system shows no socket that has it"
		if err != nil {
			why = toolText(err)
		}
		f := a.taken(why)
		f.asker = me
		return f
	case err != nil:
		return unknown("%s", toolText(err))
	case a.network[:3] == "tcp":
		return unknown("the system refuses it, and shows no socket that has it")
	case s.blind && len(s.bare) == 0:
		return unknown("other users' sockets cannot be seen")
	}
	return a.free(me)
}

// toolText says what is the matter with a tool.
func toolText(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+errors.ErrUnsupported.Error())
}

// listeningOn returns all that listens on a system, as tools of it tell.
func listeningOn(ctx context.Context, system string) ([]Holder, asker, sight, error) {
	me := newAsker()
	var all []Holder
	var hidden bool
	census := takeCensus(ctx, system, me, 0)
	for _, protocol := range []string{"tcp", "udp"} {
		rows, whole, err := socketsOf(ctx, system, protocol, 0)
		if err != nil {
			return nil, me, sight{}, err
		}
		hidden = hidden || !whole && !me.root
		if out, err := netstat(system).run(ctx); err == nil && hidden {
			rows = append(rows, unseen(parseNetstat(out), rows)...)
		}
		rows = slices.DeleteFunc(rows, func(r row) bool {
			return r.network[:3] != protocol || r.connected() || r.remote.IsValid() || r.local.Port() == 0 || r.stream() && r.state != "LISTEN"
		})
		all = append(all, survey{process: census.process}.listed(rows)...)
	}
	return all, me, sight{others: hidden}, ctx.Err()
}

// pathHoldersOn returns the processes that have a unix socket with a path, as tools of
// the system tell. It is the whole if these show other users' processes.
func (a attempt) pathHoldersOn(ctx context.Context, path, system string, me asker) (all []Holder, whole bool, err error) {
	var rows []row
	out, err := []byte(nil), errors.ErrUnsupported
	switch system {
	case "freebsd", "dragonfly", "netbsd":
		if out, err = sockstat(system, "unix", 0).run(ctx); err == nil {
			rows, whole = parseSockstat(out), true
		}
	}
	if errors.Is(err, errors.ErrUnsupported) {
		out, err = lsofUnix().run(ctx)
		rows, whole = parseLsof(out), me.root
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.path == "" || !samePath(r.path, path) })
	for i := range rows {
		rows[i].socket = "" // connections of a listener have its path, too
	}
	if len(rows) > 0 {
		s := survey{process: takeCensus(ctx, system, me, 0).process}
		all = s.holders(rows)
	}
	return all, whole, err
}
