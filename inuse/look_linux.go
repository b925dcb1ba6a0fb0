package inuse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// proc is where the kernel shows processes, sysctls and sockets.
const proc = procfs.FS("/proc")

// explain returns the explanation of a, or nil if there is none.
func (a attempt) explain(ctx context.Context) *Error {
	if a.path != "" {
		return a.explainPath(ctx)
	}
	switch a.refusal {
	case refusedInvalid:
		return a.noZone()
	case refusedNotPermitted:
		return a.privileged()
	case refusedNotAvailable:
		if a.call != "connect" {
			return a.notAvailable()
		}
	}
	if a.local.Port() == 0 {
		return a.exhausted(ctx)
	}
	return a.explainPort(ctx)
}

// tries is how often the port is looked at anew if sockets came or went.
const tries = 3

// explainPort explains why a port cannot be bound or, in a dial, connected from.
func (a attempt) explainPort(ctx context.Context) *Error {
	kernel := openKernel()
	defer kernel.close()
	for try := 1; ; try++ {
		l := newLook(a, kernel)
		e := l.explain(ctx)
		changed := l.changed(ctx)
		if !changed || try == tries || ctx.Err() != nil {
			if e != nil {
				e.Changed = changed
				e.Unseen = slices.Concat(kernel.unseen, l.unseen)
				if ctx.Err() != nil {
					e.Unseen = append(e.Unseen, "time was up: "+ctx.Err().Error())
				}
			}
			return e
		}
	}
}

// A look is one look at the port.
type look struct {
	attempt attempt
	target  target
	kernel  *kernel
	user    uint32 // whose a new socket would be

	live   []sockdiag.Socket // those that listen, and all of UDP
	others []sockdiag.Socket // connections, and what is bound only
	groups []*group          // of those that overlap
	trial  *trial            // nil for UDP
	unseen []string
	blind  bool // the kernel did not list all sockets
}

// A trial is what bind says with SO_REUSEADDR, and with SO_REUSEPORT besides.
type trial struct {
	withAddr, withPort error
}

func newLook(a attempt, kernel *kernel) *look {
	user, err := proc.SocketUID()
	if err != nil {
		user = uint32(os.Geteuid())
	}
	return &look{attempt: a, target: targetOf(a), kernel: kernel, user: user}
}

// most is the number of connections that are looked at where a live socket has
// the port: they are probably that one's.
const most = 1000

// explain looks once.
func (l *look) explain(ctx context.Context) *Error {
	if l.target.protocol == unix.IPPROTO_TCP {
		l.trial = &trial{withAddr: l.target.bind(false)}
		switch err := l.trial.withAddr; {
		case err == nil:
		case err == unix.EADDRINUSE:
			l.trial.withPort = l.target.bind(true)
		case errors.Is(err, unix.EACCES):
			return l.attempt.privileged()
		case errors.Is(err, unix.EADDRNOTAVAIL):
			return l.attempt.notAvailable()
		case errors.Is(err, unix.EINVAL):
			return l.attempt.noZone()
		default:
			return nil
		}
	}
	if err := l.find(ctx); err != nil {
		l.unseen, l.blind = append(l.unseen, err.Error()), true
	}
	l.identify(ctx)
	return l.judge()
}

// find asks the kernel for the sockets that overlap. Those that listen are in a
// table of their own and cost nothing. Those that are only bound take a walk
// through all that have a port, and are searched if nothing else is in the way.
func (l *look) find(ctx context.Context) (err error) {
	request := sockdiag.Request{Protocol: l.target.protocol, LocalPort: l.target.port}
	if l.target.protocol == unix.IPPROTO_UDP {
		l.live, err = l.overlapping(ctx, request)
		return err
	}
	request.States = sockdiag.Set(sockdiag.Listen)
	if l.live, err = l.overlapping(ctx, request); err != nil {
		return err
	}
	request.States = sockdiag.AnyState &^ sockdiag.Set(sockdiag.Listen, sockdiag.SynRecv, sockdiag.NewSynRecv, sockdiag.Bound)
	if len(l.live) > 0 {
		request.Limit = most
	}
	if l.others, err = l.overlapping(ctx, request); err != nil {
		return err
	}
	if len(l.live) == 0 && len(l.others) == 0 && l.kernel.conn != nil {
		request.States = sockdiag.Set(sockdiag.Bound)
		l.others, err = l.overlapping(ctx, request)
	}
	return err
}

func (l *look) overlapping(ctx context.Context, r sockdiag.Request) ([]sockdiag.Socket, error) {
	sockets, err := l.kernel.sockets(ctx, r)
	if r.Limit > 0 && len(sockets) >= r.Limit {
		l.unseen = append(l.unseen, fmt.Sprintf("connections of the port beyond the first %d of each IP version", r.Limit))
	}
	return slices.DeleteFunc(sockets, func(s sockdiag.Socket) bool { return !l.target.overlap(s) }), err
}

// changed reports whether the sockets that l found are not the same any more.
func (l *look) changed(ctx context.Context) bool {
	if l.trial != nil && (l.target.bind(false) == nil) != (l.trial.withAddr == nil) {
		return true
	}
	again := &look{attempt: l.attempt, target: l.target, kernel: l.kernel}
	if l.kernel.conn == nil || l.target.protocol == unix.IPPROTO_UDP {
		err := again.find(ctx)
		return err == nil && !(same(l.live, again.live) && same(l.others, again.others))
	}
	// One by one, since a dump walks through all connections of the host.
	request := sockdiag.Request{Protocol: l.target.protocol, LocalPort: l.target.port, States: sockdiag.Set(sockdiag.Listen)}
	live, err := again.overlapping(ctx, request)
	if err == nil && !same(l.live, live) {
		return true
	}
	for _, g := range l.groups {
		if !connection(g.Socket) {
			continue
		}
		now, err := l.kernel.conn.Lookup(ctx, g.Socket)
		switch {
		case err == nil && now.State != g.State, errors.Is(err, unix.ENOENT):
			return true
		}
	}
	return false
}

// same reports whether a and b are the same sockets in the same states.
func same(a, b []sockdiag.Socket) bool {
	type key struct {
		cookie uint64
		inode  uint32
		state  sockdiag.State
	}
	count := map[key]int{}
	for _, s := range a {
		count[key{s.Cookie, s.Inode, s.State}]++
	}
	for _, s := range b {
		count[key{s.Cookie, s.Inode, s.State}]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}
