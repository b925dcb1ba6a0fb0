package sockdiag

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A truth is what sockets there are, known from those who opened them: from
// fstat and getsockopt, not from what is tested.
type truth struct {
	Kernel    string // its release
	BigEndian bool   // the tables of procfs are
	Sockets   []Socket
	Unix      []UnixSocket
}

// select1 returns the sockets that r selects.
func (w truth) select1(r Request) []Socket {
	var sockets []Socket
	for _, s := range w.Sockets {
		if s.Protocol == r.Protocol && (r.Family == 0 || r.Family == s.Family) && (r.States == 0 || r.States.Has(s.State)) &&
			(r.LocalPort == 0 || r.LocalPort == s.Local.Port()) && (r.RemotePort == 0 || r.RemotePort == s.Remote.Port()) {
			sockets = append(sockets, s)
		}
	}
	return sockets
}

// listsBound reports whether the kernel lists TCP sockets that are bound only.
func (w truth) listsBound() bool {
	var major, minor int
	fmt.Sscanf(w.Kernel, "%d.%d", &major, &minor)
	return major > 6 || major == 6 && minor >= 8
}

// fill adds to s what c, its descriptor, tells.
func (w *truth) fill(t testing.TB, c syscall.Conn, s Socket) {
	t.Helper()
	control(t, c, func(fd int) {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			t.Fatal(err)
		}
		s.Inode, s.UID = uint32(stat.Ino), stat.Uid
		s.Cookie = cookie(fd)
		if index, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); err == nil {
			s.Interface = uint32(index)
		}
		if s.Family == unix.AF_INET6 && (s.State == Listen || s.State == Close) {
			only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			if err != nil {
				t.Fatal(err)
			}
			s.V6OnlyKnown, s.V6Only = true, only != 0
		}
	})
	s.Cgroup = ownCgroup()
	w.Sockets = append(w.Sockets, s)
}

// cookie returns SO_COOKIE, or 0 where an emulator lacks it.
func cookie(fd int) uint64 {
	n, _ := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	return n
}

func control(t testing.TB, c syscall.Conn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

// ownCgroup returns the inode of this process's cgroup2, or 0 where that is not
// mounted at one of the usual places.
func ownCgroup() uint64 {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, mount := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
			var fs unix.Statfs_t
			var stat unix.Stat_t
			if unix.Statfs(mount+path, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC && unix.Stat(mount+path, &stat) == nil {
				return stat.Ino
			}
		}
	}
	return 0
}

// check fails the test unless got are the sockets want, as netlink shows them.
func check(t testing.TB, got, want []Socket) {
	t.Helper()
	compare(t, got, want, func(got, want Socket) Socket {
		if want.Cookie == 0 && got.Cookie != 0 {
			want.Cookie = got.Cookie // nobody could ask
		}
		if want.Cgroup == 0 || got.Inode == 0 {
			want.Cgroup = got.Cgroup
		}
		return want
	})
}

// checkProc is check for what procfs shows.
func checkProc(t testing.TB, got, want []Socket) {
	t.Helper()
	compare(t, got, want, func(_, want Socket) Socket {
		want.Cookie, want.Cgroup, want.V6Only, want.V6OnlyKnown, want.Interface = 0, 0, false, false, 0
		return want
	})
}

func compare(t testing.TB, got, want []Socket, adapt func(got, want Socket) Socket) {
	t.Helper()
	got, want = slices.SortedFunc(slices.Values(got), byAddress), slices.SortedFunc(slices.Values(want), byAddress)
	if len(got) != len(want) {
		t.Errorf("%d sockets, want %d\ngot  %+v\nwant %+v", len(got), len(want), got, want)
		return
	}
	for i, g := range got {
		w := adapt(g, want[i])
		if g.State == TimeWait && (g.Timer != 3 || g.Expires <= 0 || g.Expires.Seconds() > 60) {
			t.Errorf("timer of %+v", g)
		}
		if (g.Queue != 0) != (w.Queue != 0) {
			t.Errorf("queue of %+v, want %d", g, w.Queue)
		}
		if g.Inode == 0 {
			w.UID = g.UID // kernels differ
		}
		w.Timer, w.Expires, w.Retransmits, w.Queue = g.Timer, g.Expires, g.Retransmits, g.Queue
		if g != w {
			t.Errorf("got  %+v\nwant %+v", g, w)
		}
	}
}

// checkUnix fails the test unless got are the unix sockets want.
func checkUnix(t testing.TB, got, want []UnixSocket) {
	t.Helper()
	byInode := func(a, b UnixSocket) int {
		return cmp.Or(cmp.Compare(a.Inode, b.Inode), cmp.Compare(a.State, b.State), cmp.Compare(a.Name, b.Name))
	}
	got, want = slices.SortedFunc(slices.Values(got), byInode), slices.SortedFunc(slices.Values(want), byInode)
	if len(got) != len(want) {
		t.Errorf("%d sockets, want %d\ngot  %+v\nwant %+v", len(got), len(want), got, want)
		return
	}
	for i, g := range got {
		w := want[i]
		if w.Type == unix.SOCK_DGRAM && g.State == w.State^Close^Established {
			w.State = g.State // kernels differ in which end of a connection they call connected
		}
		if g != w {
			t.Errorf("got  %+v\nwant %+v", g, w)
		}
	}
}

// unixProc returns what procfs shows of unix sockets.
func unixProc(sockets []UnixSocket) []UnixSocket {
	sockets = slices.Clone(sockets)
	for i, s := range sockets {
		sockets[i].Name = strings.ReplaceAll(s.Name, "\x00", "@")
		sockets[i].UID, sockets[i].UIDKnown, sockets[i].FileInode, sockets[i].FileDevice = 0, false, 0, 0
	}
	return sockets
}

// unixNetlink returns what netlink shows of them: none without an inode, and
// kernels before 5.3 no uid.
func unixNetlink(sockets, got []UnixSocket) []UnixSocket {
	sockets = slices.DeleteFunc(slices.Clone(sockets), func(s UnixSocket) bool { return s.Inode == 0 })
	known := slices.ContainsFunc(got, func(s UnixSocket) bool { return s.UIDKnown })
	for i := range sockets {
		sockets[i].UIDKnown = known
		if !known {
			sockets[i].UID = 0
		}
	}
	return sockets
}

// byAddress sorts sockets.
func byAddress(a, b Socket) int {
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Family, b.Family), a.Local.Compare(b.Local),
		a.Remote.Compare(b.Remote), cmp.Compare(a.State, b.State))
}
