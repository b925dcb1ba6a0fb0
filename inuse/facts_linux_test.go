package inuse

import (
	"io/fs"
	"net/netip"
	"slices"
	"testing"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

func TestNetifsIn(t *testing.T) {
	const text = `00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80       v0
fd000000000000000000000000000005 02 40 00 c8       v0
fd000000000000000000000000000006 02 40 00 44       v0
no address
00000000000000000000000000000001 zz 80 10 80       lo
`
	addr := func(s string, tentative, duplicate bool) netifAddr {
		return netifAddr{netip.MustParseAddr(s), tentative, duplicate}
	}
	want := []netif{
		{name: "lo", index: 1, up: true, linked: true, loopback: true, addrs: []netifAddr{addr("::1", false, false)}},
		{name: "v0", index: 2, up: true, linked: true, addrs: []netifAddr{
			addr("fe80::1", false, false), addr("fd00::5", true, true), addr("fd00::6", false, false), // optimistic
		}},
	}
	got := netifsIn(text)
	if !slices.EqualFunc(got, want, func(a, b netif) bool {
		return a.name == b.name && a.index == b.index && a.up == b.up && a.linked == b.linked && a.loopback == b.loopback && slices.Equal(a.addrs, b.addrs)
	}) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestInstead(t *testing.T) {
	all := []netif{
		{name: "lo", up: true, loopback: true, addrs: []netifAddr{{Addr: netip.MustParseAddr("127.0.0.1")}, {Addr: netip.MustParseAddr("::1")}}},
		{name: "down", addrs: []netifAddr{{Addr: netip.MustParseAddr("192.0.2.1")}}},
		{name: "v0", up: true, addrs: []netifAddr{
			{Addr: netip.MustParseAddr("192.0.2.7")}, {Addr: netip.MustParseAddr("192.0.2.8")},
			{Addr: netip.MustParseAddr("fe80::1")}, {Addr: netip.MustParseAddr("fd00::5"), tentative: true}, {Addr: netip.MustParseAddr("fd00::7")},
		}},
	}
	for _, test := range []struct {
		like     string
		loopback bool
		not      []string
		want     string
	}{
		{"127.0.0.53", false, []string{"127.0.0.53"}, "192.0.2.7"},
		{"192.0.2.7", false, []string{"192.0.2.7"}, "192.0.2.8"},
		{"192.0.2.7", false, []string{"192.0.2.7", "192.0.2.8"}, "127.0.0.1"},
		{"0.0.0.0", true, nil, "127.0.0.1"},
		{"fd00::5", false, []string{"fd00::5"}, "fd00::7"},
		{"fd00::7", false, []string{"fd00::7"}, "::1"},
		{"fd00::7", false, []string{"fd00::7", "::1"}, ""},
	} {
		var not []netip.Addr
		for _, s := range test.not {
			not = append(not, netip.MustParseAddr(s))
		}
		got, ok := instead(all, netip.MustParseAddr(test.like), test.loopback, not...)
		if ok != (test.want != "") || ok && got.String() != test.want {
			t.Errorf("like %s, not %v: %v, want %s", test.like, test.not, got, test.want)
		}
	}
}

func TestList(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	for n, want := range map[int]string{1: "a", 2: "a and b", 3: "a, b and c", 4: "a, b, c and d", 5: "a, b, c and 2 others", 6: "a, b, c and 3 others"} {
		if got := list(names[:n]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMapped(t *testing.T) {
	const text = "         0       1000          1\n         1     100000      65536\n"
	for uid, want := range map[int]int{0: 1000, 1: 100000, 33: 100032, 65536: 165535, 70000: 70000} {
		if got := mapped(text, uid); got != want {
			t.Errorf("user %d is %d outside, want %d", uid, got, want)
		}
	}
	if got := mapped("nonsense", 5); got != 5 {
		t.Errorf("without a map: %d", got)
	}
}

func TestNoRights(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\n": false,
		"Name:\tx\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\n": true,
		"Name:\tx\nCapBnd:\t000001fffffffbff\nNoNewPrivs:\t0\n": true,
		"": false, // not known
	} {
		if why := noRights(status); (why != "") != want {
			t.Errorf("%q: %q", status, why)
		}
	}
}

func TestModeOf(t *testing.T) {
	for want, mode := range map[string]fs.FileMode{
		"srwxr-xr-x": fs.ModeSocket | 0o755, "drwxrwxrwt": fs.ModeDir | fs.ModeSticky | 0o777, "drwxrwx--T": fs.ModeDir | fs.ModeSticky | 0o770,
		"-rwsr-xr-x": fs.ModeSetuid | 0o755, "-rw-r-Sr--": fs.ModeSetgid | 0o644, "lrwxrwxrwx": fs.ModeSymlink | 0o777,
		"prw-------": fs.ModeNamedPipe | 0o600, "crw-------": fs.ModeDevice | fs.ModeCharDevice | 0o600, "brw-------": fs.ModeDevice | 0o600,
		"?rw-------": fs.ModeIrregular | 0o600,
	} {
		if got := modeOf(mode); got != want {
			t.Errorf("%v is %s, want %s", mode, got, want)
		}
	}
}

// TestBoundTo: by the file where the kernel tells it, and else by the name.
func TestBoundTo(t *testing.T) {
	socket := func(inode, file uint32, device uint64, name string) sockdiag.UnixSocket {
		return sockdiag.UnixSocket{Type: unix.SOCK_STREAM, State: sockdiag.Listen, Inode: inode, Name: name, FileInode: file, FileDevice: device}
	}
	accepted := socket(9, 7, 1, "/run/x")
	accepted.State = sockdiag.Established
	sockets := []sockdiag.UnixSocket{
		socket(1, 7, 1, "other/name"), socket(2, 7, 2, "/run/x"), socket(3, 8, 1, "/run/x"), accepted,
		socket(4, 0, 0, "/run/x"), socket(5, 0, 0, "@x"), socket(6, 0, 0, ""),
	}
	for _, test := range []struct {
		file  fileID
		names []string
		want  []uint32
	}{
		{fileID{7, 1}, []string{"/run/x"}, []uint32{1, 4}},
		{fileID{7, 1}, nil, []uint32{1}},
		{fileID{}, []string{"@x"}, []uint32{5}},
		{fileID{}, []string{""}, nil},
	} {
		var got []uint32
		for _, s := range boundTo(test.file, sockets, test.names...) {
			got = append(got, s.Inode)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v %q: %v, want %v", test.file, test.names, got, test.want)
		}
	}
}
