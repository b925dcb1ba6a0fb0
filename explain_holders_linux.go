package reuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

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
	cgroup          string

	descriptors  []procfs.Descriptor
	options      Mode
	optionsKnown bool

	blocksAddr, blocksPort answer // a bind with Addr, and with Port
}

// An answer may be not known.
type answer uint8

const (
	maybe answer = iota
	yes
	no
)

// inodesEach is how many sockets of a group are looked for in processes.
const inodesEach = 4

// identify makes groups of the sockets that were found, and finds out whose they
// are.
func (l *look) identify(ctx context.Context) {
	ephemeral := l.ephemeral(ctx)
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
	l.owners(ctx)
}

// owners finds the processes of the groups, and the options of their sockets.
func (l *look) owners(ctx context.Context) {
	wanted := map[uint32]bool{}
	cgroups := map[uint64]procfs.Cgroup{}
	var first []int
	for _, g := range l.groups {
		if len(g.inodes) == 0 {
			continue
		}
		for _, inode := range g.inodes {
			// Connections of a live listener are as it is, so they are
			// not worth a search among all that have connections.
			wanted[inode] = len(l.live) == 0 || !connection(g.Socket)
		}
		if g.Cgroup != 0 {
			if _, ok := cgroups[g.Cgroup]; !ok {
				cgroups[g.Cgroup] = procfs.FindCgroup(ctx, g.Cgroup)
				first = append(first, cgroups[g.Cgroup].Processes()...)
			}
			g.cgroup = cgroups[g.Cgroup].Path
		}
	}
	owners := procfs.FindOwners(ctx, wanted, first)
	all := true
	var refused error
	for _, g := range l.groups {
		for _, inode := range g.inodes {
			found := owners.Found[inode]
			g.descriptors = append(g.descriptors, found...)
			if err := g.readOptions(inode, found); refused == nil {
				refused = err
			}
		}
		all = all && (len(g.inodes) == 0 || len(g.descriptors) > 0)
	}
	if refused != nil {
		l.unseen = append(l.unseen, fmt.Sprintf("socket options: %v", refused))
	}
	if all {
		return
	}
	if owners.Err != nil {
		l.unseen = append(l.unseen, fmt.Sprintf("processes: %v", owners.Err))
	}
	if owners.Hidden {
		l.unseen = append(l.unseen, "processes of other users: /proc hides them (hidepid)")
	}
	if owners.Forbidden > 0 {
		l.unseen = append(l.unseen, fmt.Sprintf("the descriptors of %d processes, which are another user's or have more rights than this one", owners.Forbidden))
	}
	if owners.Skipped > 0 {
		l.unseen = append(l.unseen, fmt.Sprintf("the descriptors of %d processes: time was up", owners.Skipped))
	}
}

// readOptions adds to g the options of one of its sockets: g has those that all
// of its sockets have. The error is that of a kernel or sandbox that refuses.
func (g *group) readOptions(inode uint32, found []procfs.Descriptor) error {
	if len(found) == 0 {
		return nil
	}
	addr, port, err := procfs.Options(found[0], inode)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err != nil {
		return nil // it has changed
	}
	options := Addr*Mode(toInt(addr)) | Port*Mode(toInt(port))
	if g.optionsKnown {
		options &= g.options
	}
	g.options, g.optionsKnown = options, true
	return nil
}

// ephemeral tells connections that were dialled from those that were accepted.
type ephemeral struct {
	low, high uint16
	listening map[uint16]bool // ports on which somebody on this host listens
}

func (l *look) ephemeral(ctx context.Context) ephemeral {
	e := ephemeral{listening: map[uint16]bool{}}
	e.low, e.high = ephemeralRange()
	if len(l.others) > 0 {
		listeners, err := l.sockets(ctx, sockdiag.Request{Protocol: l.protocol, States: sockdiag.Set(sockdiag.Listen)})
		if err != nil {
			l.unseen = append(l.unseen, err.Error())
		}
		for _, s := range listeners {
			e.listening[s.Local.Port()] = true
		}
	}
	return e
}

func (e ephemeral) has(port uint16) bool { return e.low <= port && port <= e.high }

// client reports whether s is a connection that was probably dialled from here,
// with a port that the kernel chose. Nothing tells for sure. Its port is one of
// those that the kernel chooses from; and the other's is not, or is one where
// somebody on this host listens.
func (e ephemeral) client(s sockdiag.Socket) bool {
	if s.Remote.Port() == 0 || !e.has(s.Local.Port()) {
		return false
	}
	return s.Protocol == unix.IPPROTO_UDP || !e.has(s.Remote.Port()) || e.listening[s.Remote.Port()]
}

// ephemeralRange returns net.ipv4.ip_local_port_range.
func ephemeralRange() (low, high uint16) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 32768, 60999 // the kernel's default
	}
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return 32768, 60999
	}
	first, _ := strconv.ParseUint(fields[0], 10, 16)
	last, _ := strconv.ParseUint(fields[1], 10, 16)
	return uint16(first), uint16(last)
}

// holder returns what others see of g.
func (l *look) holder(g *group, cause Cause) Holder {
	h := Holder{
		Cause:   cause,
		Network: "tcp4",
		Local:   g.Local,
		V6Only:  g.V6Only,
		State:   g.State.String(),
		Count:   g.count,
		UID:     -1,
		Inode:   g.Inode,
		Cgroup:  g.cgroup,

		Processes:    processesOf(g.descriptors, g.count == 1),
		Options:      g.options,
		OptionsKnown: g.optionsKnown,
	}
	if g.Protocol == unix.IPPROTO_UDP {
		h.Network = "udp4"
	}
	if g.Family == unix.AF_INET6 {
		h.Network = h.Network[:3] + "6"
	}
	if g.Remote.Port() != 0 {
		h.Remote = g.Remote
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

// processesOf returns the processes of descriptors, the oldest first. If these are
// of one socket, the others have it from the oldest.
func processesOf(descriptors []procfs.Descriptor, oneSocket bool) []Process {
	type started struct {
		Process
		at uint64
	}
	var all []started
	for _, d := range descriptors {
		if !slices.ContainsFunc(all, func(s started) bool { return s.PID == d.PID }) {
			all = append(all, started{Process{PID: d.PID, Command: procfs.Command(d.PID)}, procfs.Started(d.PID)})
		}
	}
	slices.SortFunc(all, func(a, b started) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.PID, b.PID)) })
	processes := make([]Process, len(all))
	for i, s := range all {
		processes[i] = s.Process
		processes[i].Heir = oneSocket && i > 0
	}
	return processes
}

// nameIn returns the name of a user in the text of passwd(5).
func nameIn(passwd string, uid uint32) string {
	for line := range strings.Lines(passwd) {
		fields := strings.Split(line, ":")
		if len(fields) > 2 && fields[2] == strconv.FormatUint(uint64(uid), 10) {
			return fields[0]
		}
	}
	return ""
}
