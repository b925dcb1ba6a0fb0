package inuse

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// proc is where the kernel shows processes, sysctls and sockets.
const proc = procfs.FS("/proc")

// find returns what explains a, or nil if nothing does.
func (a attempt) find(ctx context.Context) *finding {
	me := newAsker()
	if a.path != "" {
		return a.findPath(ctx, me)
	}
	if a.call == "connect" && a.refusal != refusedInUse && a.refusal != refusedNotAvailable {
		return a.findRefusal(ctx, me)
	}
	if a.local.Port() == 0 {
		if a.refusal != refusedInUse && a.call != "connect" {
			return a.findRefusal(ctx, me)
		}
		f := a.exhausted(ctx, a.most)
		if f != nil {
			f.asker = me
		}
		return f
	}
	f := a.findPort(ctx, me)
	if a.refusal == refusedInUse || a.call == "connect" {
		return f
	}
	// Who has the port comes first: whoever may not have the address, or not there,
	// cannot have it anyway.
	other := a.findRefusal(ctx, me)
	if f == nil || len(f.holders) == 0 {
		return other
	}
	if other != nil {
		f.also(other)
	}
	return f
}

// findRefusal explains why the kernel refuses the address whoever has it.
func (a attempt) findRefusal(ctx context.Context, me asker) *finding {
	var f *finding
	switch a.refusal {
	case refusedInvalid:
		f = a.invalid(ctx)
	case refusedNotPermitted:
		f = a.notPermitted(ctx, me)
	case refusedNotAvailable:
		f = a.notAvailable(ctx)
	}
	if f != nil {
		f.asker = me
	}
	return f
}

// tries is how often the port is looked at anew if sockets came or went.
const tries = 3

// findPort finds out why a port cannot be bound or, in a dial, connected from. It
// returns nil if the kernel refuses the address for another reason.
func (a attempt) findPort(ctx context.Context, me asker) *finding {
	kernel := openKernel()
	defer kernel.close()
	for try := 1; ; try++ {
		l := &look{attempt: a, asker: me, target: targetOf(a), kernel: kernel}
		f := l.find(ctx)
		if f == nil {
			return nil
		}
		f.asker = me
		changed := ctx.Err() == nil && l.changed(ctx)
		if changed && try < tries {
			continue
		}
		if changed {
			f.hints = append(f.hints, "sockets came and went meanwhile: ask again")
		}
		return f
	}
}

// A look is one look at the port.
type look struct {
	attempt attempt
	asker   asker
	target  target
	kernel  *kernel

	live   []sockdiag.Socket // those that listen, and all of UDP
	others []sockdiag.Socket // connections, and what is bound only
	groups []*group          // of those that overlap
	trial  *trial            // what bind says; nil if it was not asked
	sight  sight
	blind  error // why the kernel did not list all sockets
}

// A trial is what bind says with SO_REUSEADDR, and with SO_REUSEPORT besides.
type trial struct {
	withAddr, withPort error
}

// most is the number of connections of each IP version that are looked at where a
// live socket has the port: they are probably that one's.
const most = 1000

// find looks once.
func (l *look) find(ctx context.Context) *finding {
	l.blind = l.list(ctx)
	if err := l.try(ctx); err != nil {
		return nil
	}
	l.identify(ctx)
	return l.judge()
}

// list asks the kernel for the sockets that overlap. Those that listen are in a table
// of their own and cost nothing.
func (l *look) list(ctx context.Context) (err error) {
	request := sockdiag.Request{Protocol: l.target.protocol, LocalPort: l.target.port}
	if l.target.protocol == unix.IPPROTO_UDP {
		l.live, err = l.overlapping(ctx, request)
		return err
	}
	request.States = sockdiag.Set(sockdiag.Listen)
	if l.live, err = l.overlapping(ctx, request); err != nil {
		return err
	}
	connections := sockdiag.AnyState &^ sockdiag.Set(sockdiag.Listen, sockdiag.SynRecv, sockdiag.NewSynRecv, sockdiag.Bound, sockdiag.Close)
	request.States = connections
	if len(l.live) > 0 {
		request.Limit = most
	}
	if l.others, err = l.overlapping(ctx, request); err != nil || l.kernel.conn == nil {
		return err
	}
	request.States, request.Limit = sockdiag.Set(sockdiag.Bound), 0
	bound, err := l.overlapping(ctx, request)
	l.others = append(l.others, bound...)
	return err
}

func (l *look) overlapping(ctx context.Context, r sockdiag.Request) ([]sockdiag.Socket, error) {
	sockets, err := l.kernel.sockets(ctx, r)
	return slices.DeleteFunc(sockets, func(s sockdiag.Socket) bool {
		// A connection can be reset while the kernel tells of it.
		return !l.target.overlap(s) || r.States != 0 && !r.States.Has(s.State)
	}), err
}

// try binds a TCP port on trial, unless nothing is seen to have it: then a server that
// starts just now would be refused because of the trial. It returns an error if bind
// has another reason than that the port is in use.
func (l *look) try(ctx context.Context) error {
	if l.target.protocol != unix.IPPROTO_TCP {
		return nil
	}
	if l.blind == nil && len(l.live) == 0 && len(l.others) == 0 && l.kernel.listsBound(ctx) {
		return nil
	}
	l.trial = &trial{withAddr: l.target.bind(false)}
	switch l.trial.withAddr {
	case nil:
		return nil
	case unix.EADDRINUSE:
		l.trial.withPort = l.target.bind(true)
		return nil
	case unix.EACCES, unix.EPERM, unix.EADDRNOTAVAIL, unix.EINVAL, unix.ENODEV:
		if l.attempt.refusal != refusedInUse { // whoever has it is asked for all the same
			l.trial = nil
			return nil
		}
	}
	return l.trial.withAddr
}

// changed reports whether what decides is not as it was. The connections of a live
// listener do not.
func (l *look) changed(ctx context.Context) bool {
	if l.trial != nil && (l.target.bind(false) == nil) != (l.trial.withAddr == nil) {
		return true
	}
	request := sockdiag.Request{Protocol: l.target.protocol, LocalPort: l.target.port}
	if l.target.protocol == unix.IPPROTO_TCP {
		request.States = sockdiag.Set(sockdiag.Listen)
	}
	live, err := l.overlapping(ctx, request)
	return err == nil && !same(l.live, live)
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

// identify makes groups of the sockets that were found, and finds out whose they
// are.
func (l *look) identify(ctx context.Context) {
	ephemeral := l.ephemeral(ctx) // ports_linux.go
	type key struct {
		local  netip.AddrPort
		family uint8
		state  sockdiag.State
		uid    uint32
		cgroup uint64
		owned  bool
		client bool
		single uint32
	}
	groups := map[key]*group{}
	for _, s := range slices.Concat(l.live, l.others) {
		k := key{s.Local, s.Family, s.State, s.UID, s.Cgroup, s.Inode != 0, ephemeral.client(s), 0}
		if !connection(s) {
			k.single = s.Inode
		}
		g := groups[k]
		if g == nil {
			g = &group{Socket: s, client: k.client}
			groups[k] = g
			l.groups = append(l.groups, g)
		}
		g.count++
		if len(g.inodes) < inodesEach && s.Inode != 0 {
			g.inodes = append(g.inodes, s.Inode)
		}
		if s.Expires > g.Expires {
			g.Socket = s
		}
	}
	// Connections of a live listener are as it is, so they are not worth a search
	// among all that have connections.
	l.sight = findOwners(ctx, l.groups, func(g *group) bool {
		return len(l.live) == 0 || !connection(g.Socket)
	})
}

// inodesEach is how many sockets of a group are looked for in processes.
const inodesEach = 4

// most says which process has most of the sockets.
func (a attempt) most(ctx context.Context, sockets []sockdiag.Socket) string {
	type key struct {
		uid    uint32
		cgroup uint64
	}
	groups := map[key]*group{}
	var largest *group
	for _, s := range sockets {
		g := groups[key{s.UID, s.Cgroup}]
		if g == nil {
			g = &group{Socket: s}
			groups[key{s.UID, s.Cgroup}] = g
		}
		g.count++
		if s.Inode != 0 && len(g.inodes) < inodesEach {
			g.inodes = append(g.inodes, s.Inode)
		}
		if largest == nil || g.count > largest.count {
			largest = g
		}
	}
	if largest == nil || len(largest.inodes) == 0 {
		return ""
	}
	findOwners(ctx, []*group{largest}, func(*group) bool { return true })
	if len(largest.processes) == 0 {
		return ""
	}
	p := largest.processes[0]
	return fmt.Sprintf("most are held by %s (pid %d): %d", p.Name, p.PID, largest.count)
}
