package inuse

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

	descriptors []procfs.Descriptor
	options     Options // those that all of its sockets have

	blocksAddr, blocksPort answer // a bind with SO_REUSEADDR, and with SO_REUSEPORT
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
	l.unseen = append(l.unseen, findOwners(ctx, l.groups, func(g *group) bool {
		return len(l.live) == 0 || !connection(g.Socket)
	})...)
}

// findOwners finds the processes of the groups and the options of their sockets,
// and returns what could not be seen. It searches all descriptors of all processes
// for those that are worth it.
func findOwners(ctx context.Context, groups []*group, worth func(*group) bool) (unseen []string) {
	wanted := map[uint32]bool{}
	cgroups := map[uint64]procfs.Cgroup{}
	var first []int
	for _, g := range groups {
		if len(g.inodes) == 0 {
			continue
		}
		for _, inode := range g.inodes {
			wanted[inode] = worth(g)
		}
		if g.Cgroup != 0 {
			if _, ok := cgroups[g.Cgroup]; !ok {
				cgroups[g.Cgroup] = proc.FindCgroup(ctx, g.Cgroup)
				first = append(first, cgroups[g.Cgroup].Processes()...)
			}
			g.cgroup = cgroups[g.Cgroup].Path
		}
	}
	owners := proc.FindOwners(ctx, wanted, first)
	all := true
	var refused error
	for _, g := range groups {
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
		unseen = append(unseen, fmt.Sprintf("socket options: %v", refused))
	}
	if !all {
		unseen = append(unseen, leftOut(owners)...)
	}
	return unseen
}

// leftOut says what of the processes was not looked at.
func leftOut(owners procfs.Owners) (unseen []string) {
	if owners.Err != nil {
		unseen = append(unseen, fmt.Sprintf("processes: %v", owners.Err))
	}
	if owners.Hidden {
		unseen = append(unseen, "processes of other users: /proc hides them (hidepid)")
	}
	if owners.Forbidden > 0 {
		unseen = append(unseen, fmt.Sprintf("the descriptors of %d processes, which are another user's or have more rights than this one", owners.Forbidden))
	}
	if owners.Skipped > 0 {
		unseen = append(unseen, fmt.Sprintf("the descriptors of %d processes: time was up", owners.Skipped))
	}
	return unseen
}

// readOptions adds to g the options of one of its sockets. The error is that of a
// kernel or sandbox that refuses.
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
	known := g.options.Known
	g.options = Options{
		Known:     true,
		ReuseAddr: addr && (!known || g.options.ReuseAddr),
		ReusePort: port && (!known || g.options.ReusePort),
	}
	return nil
}

// holder returns what others see of g.
func (g *group) holder(cause Cause) Holder {
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

		Processes: processesOf(g.descriptors, g.count == 1),
		Options:   g.options,
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
			all = append(all, started{Process{PID: d.PID, Command: proc.Command(d.PID)}, proc.Started(d.PID)})
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

// username returns the name of a user in /etc/passwd. It does not ask the
// system's other sources, which may be a network away.
func username(uid uint32) string {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	return nameIn(string(text), uid)
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

func ownedBySelf(processes []Process) bool {
	return slices.ContainsFunc(processes, func(p Process) bool { return p.PID == os.Getpid() })
}
