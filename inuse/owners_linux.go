package inuse

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"example.com/reuse/internal/argv"
	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A group is a socket, or connections that differ in nothing that matters.
type group struct {
	sockdiag.Socket // of several the one that stays longest
	count           int
	client          bool // connections that were probably dialled from here
	inodes          []uint32

	// What findOwners finds out.
	processes  []Process // the oldest first
	options    Options   // those that all of its sockets have
	unit       unit      // of the socket's own cgroup
	device     string    // the interface that it is bound to
	link, kind string    // the interface whose socket it is
	pgid       int       // the process group, if the processes are all that are in it

	blocksAddr, blocksPort answer // a bind with SO_REUSEADDR, and with SO_REUSEPORT
}

// owners are the processes that are looked at in one look. What is read of each is read
// once.
type owners struct {
	guard      procfs.Guard
	known      map[int]*details
	groups     map[int][]int     // of all processes, by process group; nil if not read yet
	containers []dockerContainer // nil if not looked for yet
}

// details are those of a process.
type details struct {
	procfs.Process
	listed  bool // else it has ended or is hidden
	args    []string
	name    string // as of argv.Name
	program string
}

// findOwners finds out who has the sockets of the groups, and returns what could not be
// seen. It searches all descriptors of all processes for those that are worth it.
func findOwners(ctx context.Context, groups []*group, worth func(*group) bool) sight {
	wanted := map[uint32]bool{}
	cgroups := map[uint64]procfs.Cgroup{}
	var first []int
	for _, g := range groups {
		g.unit = unit{user: -1}
		for _, inode := range g.inodes {
			wanted[inode] = worth(g)
		}
		if len(g.inodes) == 0 || g.Cgroup == 0 {
			continue
		}
		if _, ok := cgroups[g.Cgroup]; !ok {
			cgroups[g.Cgroup] = proc.FindCgroup(ctx, g.Cgroup)
			first = append(first, cgroups[g.Cgroup].Processes()...)
		}
		g.unit = unitOf(cgroups[g.Cgroup].Path)
	}
	o := &owners{known: map[int]*details{}}
	found := proc.FindOwners(ctx, &o.guard, wanted, first)
	sandboxed := proc.Sandboxed()
	var s sight
	var unowned []*group
	for _, g := range groups {
		var descriptors []procfs.Descriptor
		for _, inode := range g.inodes {
			descriptors = append(descriptors, found.Found[inode]...)
			o.readOptions(ctx, g, inode, found.Found[inode], sandboxed)
		}
		g.device = device(g.Socket)
		g.processes = o.processes(ctx, g, descriptors)
		g.pgid = o.wholeGroup(g.processes)
		if len(g.inodes) > 0 && len(g.processes) == 0 {
			unowned = append(unowned, g)
		}
	}
	if found.Hidden { // there may be others in a process group
		for _, g := range groups {
			g.pgid = 0
		}
	}
	if len(unowned) == 0 {
		return s
	}
	if found.Forbidden > 0 {
		o.findProxies(ctx, unowned)
	}
	findLinks(ctx, unowned)
	s.others, s.hidden, s.late, s.err = found.Forbidden > 0, found.Hidden, found.Skipped > 0, found.Err
	return s
}

// readOptions adds to g the options of one of its sockets, if they can be read: not of
// another process's where a filter of system calls may kill for it.
func (o *owners) readOptions(ctx context.Context, g *group, inode uint32, found []procfs.Descriptor, sandboxed bool) {
	at := slices.IndexFunc(found, func(d procfs.Descriptor) bool { return d.FD >= 0 })
	if at < 0 || sandboxed && found[at].PID != os.Getpid() {
		return
	}
	var addr, port bool
	var err error
	// A process that begins a program can hold up pidfd_getfd.
	if !o.guard.Do(ctx, func() { addr, port, err = procfs.Options(found[at], inode) }) || err != nil {
		return
	}
	known := g.options.Known
	g.options = Options{
		Known:     true,
		ReuseAddr: addr && (!known || g.options.ReuseAddr),
		ReusePort: port && (!known || g.options.ReusePort),
	}
}

// look returns what is known of a process. Of one whose first thread has ended, another
// thread is to be given, else 0.
func (o *owners) look(ctx context.Context, pid, thread int) *details {
	if d := o.known[pid]; d != nil {
		return d
	}
	d := new(details)
	o.known[pid] = d
	if d.Process, d.listed = proc.Process(pid); !d.listed {
		return d
	}
	d.args = proc.Arguments(ctx, &o.guard, pid, thread)
	if d.name, d.program = argv.Name(d.args, d.Process.Name); d.args == nil {
		d.name, d.program = argv.Name(nil, proc.Command(pid))
	}
	return d
}

// processes returns those of descriptors, the oldest first. If these are of one socket,
// the others have it from the oldest.
func (o *owners) processes(ctx context.Context, g *group, descriptors []procfs.Descriptor) []Process {
	threads := map[int]int{}
	for _, d := range descriptors {
		threads[d.PID] = max(threads[d.PID], d.Thread)
	}
	for pid, thread := range threads {
		if !o.look(ctx, pid, thread).listed { // ended meanwhile
			delete(threads, pid)
		}
	}
	pids := slices.SortedFunc(maps.Keys(threads), func(a, b int) int {
		return cmp.Or(cmp.Compare(o.known[a].Start, o.known[b].Start), cmp.Compare(a, b))
	})
	var all []Process
	for i, pid := range pids {
		p := o.process(ctx, g, pid)
		p.Inherited = g.count <= 1 && i > 0
		all = append(all, p)
	}
	for i := range all {
		o.supervise(ctx, &all[i], threads)
	}
	return all
}

// process returns what others see of a process that has the socket of g.
func (o *owners) process(ctx context.Context, g *group, pid int) Process {
	d := o.look(ctx, pid, 0)
	p := Process{
		PID: pid, Name: d.name, Command: d.program, Started: d.Started(), State: stateOf(d.State), Parent: d.Parent, Tracer: d.Tracer,
		unit: o.unit(ctx, g, d), uid: d.UID, terminal: d.Terminal,
	}
	if p.Tracer != 0 {
		p.tracerName = cmp.Or(o.look(ctx, p.Tracer, 0).program, "a debugger")
	}
	if p.Parent > 1 {
		if parent := o.look(ctx, p.Parent, 0); parent.UID == d.UID && argv.IsScript(parent.args) && !o.runsThis(p.Parent) {
			p.parentName = parent.name
		}
	}
	return p
}

// runsThis reports whether a process is an ancestor of this one: a script that has
// started the server and asks who it is.
func (o *owners) runsThis(pid int) bool {
	const generations = 20
	ancestor := os.Getppid()
	for range generations {
		if ancestor == pid || ancestor <= 1 {
			return ancestor == pid
		}
		p, _ := proc.Process(ancestor)
		ancestor = p.Parent
	}
	return false
}

// stateOf returns what a process does, by the letter of the kernel.
func stateOf(letter byte) string {
	switch letter {
	case 'T':
		return "stopped"
	case 't':
		return "traced"
	case 'Z', 'X':
		return "zombie"
	}
	return "running"
}

// unit returns what manages a process that has the socket of g.
func (o *owners) unit(ctx context.Context, g *group, d *details) unit {
	u := unitOf(proc.Cgroup(d.PID))
	switch {
	case d.program == "systemd" && strings.HasSuffix(g.unit.name, ".socket"):
		return g.unit // for which it listens
	case d.program == "docker-proxy":
		if name := o.containerOf(ctx, d.args); name != "" {
			return unit{user: -1, container: name, kind: "docker"}
		}
	case d.program == "conmon":
		if name := conmonContainer(d.args); name != "" {
			u.name, u.container, u.kind = "", name, "podman"
		}
	}
	return u
}

// wholeGroup returns the process group of processes if they are all that are in it, and
// more than one; else 0.
func (o *owners) wholeGroup(processes []Process) int {
	if len(processes) < 2 {
		return 0
	}
	group := o.known[processes[0].PID].Group
	for _, p := range processes {
		if o.known[p.PID].Group != group {
			return 0
		}
	}
	if o.groups == nil {
		o.groups = proc.Groups()
	}
	for _, pid := range o.groups[group] {
		if !slices.ContainsFunc(processes, func(p Process) bool { return p.PID == pid }) {
			return 0
		}
	}
	return group
}

// holder returns what others see of g.
func (g *group) holder() Holder {
	h := Holder{
		Network: "tcp4",
		Local:   g.Local,
		Device:  g.device,
		V6Only:  g.V6Only,
		State:   g.State.String(),
		Count:   max(1, g.count),
		UID:     -1,

		Processes: g.processes,
		Options:   g.options,

		unit:  g.unit,
		group: g.pgid,
		link:  g.link,
		kind:  g.kind,

		client: g.client,
	}
	if g.Protocol == unix.IPPROTO_UDP {
		h.Network = "udp4"
		if g.State == sockdiag.Close {
			h.State = "UNCONN" // as ss(8) calls it
		}
	}
	if g.Family == unix.AF_INET6 {
		h.Network = h.Network[:3] + "6"
	}
	if g.Remote.Port() != 0 {
		h.Remote = g.Remote
	}
	if addr := g.Local.Addr(); addr.Is6() && addr.IsLinkLocalUnicast() && g.Interface != 0 {
		h.Local = netip.AddrPortFrom(addr.WithZone(interfaceName(g.Interface)), g.Local.Port())
	}
	if !g.Leftover() {
		h.UID, h.User = int(g.UID), username(g.UID)
	}
	const timeWait = 3
	if g.Timer == timeWait {
		h.Expires = g.Expires
	}
	return h
}
