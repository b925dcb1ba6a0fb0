package group

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// requests returns how many requests a Conn has sent.
func requests(diag *sockdiag.Conn) int {
	return int(reflect.ValueOf(diag).Elem().FieldByName("seq").Uint())
}

// One look shows the groups of sockets of any ports, with one question for each
// protocol and family.
func TestLook(t *testing.T) {
	testnet.Namespace(t)
	diag := diagConn(t)
	groups := [][]*member{}
	var asked []*Socket
	for i, place := range places {
		for _, port := range []int{9999, 9998} {
			n := 1 + (i+port)%4
			address := strings.Replace(place.address, "9999", fmt.Sprint(port+10*i), 1)
			groups = append(groups, group(t, n, place.network, address))
			asked = append(asked, groups[len(groups)-1][n-1].Socket)
		}
	}
	before := requests(diag)
	dump, err := Look(t.Context(), diag, asked...)
	if err != nil {
		t.Fatal(err)
	}
	if n := requests(diag) - before; n != 4 {
		t.Errorf("%d requests for %d groups", n, len(groups))
	}
	for _, members := range groups {
		for _, m := range members {
			got, err := dump.Members(m.Socket)
			if err != nil || !got.Same(cookies(members)) || got.Connected != 0 || len(got.Marks) != 0 {
				t.Errorf("%v: %+v, %v, want %v", m.Key, got, err, cookies(members))
			}
		}
	}
	for _, members := range groups {
		closeAll(members)
	}
}

// Sockets at one port that differ in what a group has in common are not of one.
func TestMembersOthers(t *testing.T) {
	testnet.NeedRoot(t)
	for _, protocol := range []string{"tcp", "udp"} {
		testnet.Namespace(t)
		diag := diagConn(t)
		groups := [][]*member{
			group(t, 2, protocol+"4", "127.0.0.1:9999"), group(t, 2, protocol+"4", "0.0.0.0:9999"),
			group(t, 2, protocol+"4", "127.0.0.2:9999"), group(t, 2, protocol+"6", "[::1]:9999"),
			group(t, 2, protocol+"6", "[::]:9999"), group(t, 2, protocol+"4", "127.0.0.1:9999", onDevice(lo)),
			group(t, 2, protocol+"4", "127.0.0.1:9998"),
		}
		testnet.As(t, 65534, func() { groups = append(groups, group(t, 2, protocol+"4", "127.0.0.3:9998")) })
		for _, members := range groups {
			for _, m := range members {
				if got := m.members(t, diag); !got.Same(cookies(members)) {
					t.Errorf("%v: %+v, want %v", m.Key, got, cookies(members))
				}
			}
		}
		for _, members := range groups {
			closeAll(members)
		}
	}
	// IPV6_V6ONLY makes two groups of UDP sockets, of TCP listeners as well.
	for _, protocol := range []string{"tcp", "udp"} {
		testnet.Namespace(t)
		diag := diagConn(t)
		only, dual := group(t, 2, protocol+"6", "[::]:9999"), group(t, 2, protocol, ":9998")
		for _, members := range [][]*member{only, dual} {
			if got := members[0].members(t, diag); !got.Same(cookies(members)) {
				t.Errorf("%v: %+v, want %v", members[0].Key, got, cookies(members))
			}
		}
		if only[0].Key.v6only == dual[0].Key.v6only {
			t.Error(only[0].Key, dual[0].Key)
		}
		closeAll(only)
		closeAll(dual)
	}
}

// A socket that is no member tells why.
func TestMembersNone(t *testing.T) {
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	elsewhere := []*member{open(t, "tcp4", "127.0.0.1:9999"), open(t, "udp6", "[::1]:9999")}
	there := diagConn(t)
	testnet.Namespace(t)
	here := diagConn(t)
	reason := func(diag *sockdiag.Conn, m *member) error {
		t.Helper()
		dump, err := Look(t.Context(), diag, m.Socket)
		if err != nil {
			t.Fatal(err)
		}
		_, err = dump.Members(m.Socket)
		return err
	}
	for _, m := range elsewhere {
		open(t, map[uint8]string{unix.IPPROTO_TCP: "tcp4", unix.IPPROTO_UDP: "udp6"}[m.Protocol], m.Key.local.String()) // as if it were it
		if err := reason(here, m); !errors.Is(err, ErrElsewhere) {
			t.Errorf("%v: %v, want ErrElsewhere", m.Key, err)
		}
		if err := reason(there, m); err != nil {
			t.Errorf("%v: the control: %v", m.Key, err)
		}
		m.close()
		if err := reason(there, m); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, closed: %v, want net.ErrClosed", m.Key, err)
		}
	}
}

// A TCP socket is a member when it listens.
func TestMembersBound(t *testing.T) {
	for _, address := range []string{"127.0.0.1:9999", "[::1]:9999", "[::]:9999"} {
		testnet.Namespace(t)
		diag := diagConn(t)
		at := netip.MustParseAddrPort(address)
		fd, err := testnet.Bind(unix.SOCK_STREAM, at, at.Addr().Is6(), testnet.ReusePort)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		c, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		network := map[bool]string{true: "tcp6", false: "tcp4"}[at.Addr().Is6()]
		for _, want := range []error{ErrNotListening, nil} {
			if Listened(t.Context(), diag, c, at) != (want == nil) {
				t.Errorf("%s: Listened is wrong, want %v", address, want == nil)
			}
			m := &member{Socket: s}
			dump, err := Look(t.Context(), diag, m.Socket)
			if err != nil {
				t.Fatal(err)
			}
			members, err := dump.Members(m.Socket)
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%s: %v, want %v", address, err, want)
			}
			if want == nil && !members.Same([]uint64{s.Cookie}) {
				t.Errorf("%s: %+v", address, members)
			}
			if on, err := s.Listening(); err != nil || on != (want == nil) {
				t.Errorf("%s: listens: %v, %v", address, on, err)
			}
			if want != nil {
				if err := Listen(s); err != nil {
					t.Fatal(err)
				}
			}
		}
		// It is of the group that others join.
		other := open(t, network, address)
		if members := other.members(t, diag); !members.Same([]uint64{s.Cookie, other.Cookie}) {
			t.Errorf("%s: %+v", address, members)
		}
		f.Close()
	}
}

// UDP sockets of the address that are connected are counted, those of others are
// not.
func TestMembersConnected(t *testing.T) {
	v4 := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}
	v6 := &unix.SockaddrInet6{Addr: [16]byte{15: 1}, Port: 9}
	for _, test := range []struct {
		network, address string
		peer             unix.Sockaddr
		connected        int // of sockets at any address, it becomes that of one
	}{
		{"udp4", "127.0.0.1:9999", v4, 2}, {"udp6", "[::1]:9999", v6, 2},
		{"udp4", "0.0.0.0:9999", v4, 0}, {"udp6", "[::]:9999", v6, 0}, {"udp", ":9999", v6, 0},
	} {
		testnet.Namespace(t)
		diag := diagConn(t)
		members := group(t, 5, test.network, test.address)
		other := open(t, test.network, strings.Replace(test.address, "9999", "9998", 1))
		for _, m := range []*member{members[1], members[3], other} {
			if err := control(m, func(fd int) error { return unix.Connect(fd, test.peer) }); err != nil {
				t.Fatal(err)
			}
		}
		want := []uint64{members[0].Cookie, members[2].Cookie, members[4].Cookie}
		if got := members[0].members(t, diag); !got.Same(want) || got.Connected != test.connected {
			t.Errorf("%s: %+v, want %v and %d connected", test.address, got, want, test.connected)
		}
		closeAll(append(members, other))
	}
}

func TestSame(t *testing.T) {
	m := Members{All: []uint64{1, 2, 3}}
	for _, test := range []struct {
		cookies []uint64
		want    bool
	}{
		{[]uint64{3, 1, 2}, true}, {[]uint64{1, 2}, false}, {[]uint64{1, 2, 4}, false}, {[]uint64{1, 2, 3, 4}, false}, {nil, false},
	} {
		if got := m.Same(test.cookies); got != test.want {
			t.Errorf("%v: %v", test.cookies, got)
		}
	}
}

// What Missing says has the cure, and is errors.ErrUnsupported. Other errors are
// left as they are.
func TestMissing(t *testing.T) {
	for errno, words := range map[unix.Errno][]string{
		unix.EAFNOSUPPORT:    {"AF_NETLINK", "RestrictAddressFamilies="},
		unix.EPROTONOSUPPORT: {"NETLINK_SOCK_DIAG"},
		unix.ENOENT:          {"inet_diag", "tcp_diag", "udp_diag"},
		unix.EINVAL:          {"tcp_diag"},
		unix.EPERM:           {"filter", "NETLINK_SOCK_DIAG"},
		unix.EACCES:          {"filter", "NETLINK_SOCK_DIAG"},
		unix.ENOSYS:          {"filter", "NETLINK_SOCK_DIAG"},
		unix.EOPNOTSUPP:      {"tcp_diag"},
	} {
		call := fmt.Errorf("a dump: %w", os.NewSyscallError("socket NETLINK_SOCK_DIAG", errno))
		err := Missing(call)
		if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, errno) || !strings.Contains(err.Error(), call.Error()) {
			t.Errorf("%v became %v", call, err)
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v: nothing of %s in %v", errno, word, err)
			}
		}
		if again := Missing(err); again.Error() != err.Error() {
			t.Errorf("twice: %v", again)
		}
	}
	for _, err := range []error{nil, unix.EMFILE, os.ErrDeadlineExceeded, net.ErrClosed, ErrElsewhere} {
		if got := Missing(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
	// The kernel's own word for a protocol that it has no module for.
	diag := diagConn(t)
	_, err := diag.Members(t.Context(), sockdiag.Request{Protocol: 250, Family: unix.AF_INET, States: 1})
	if err = Missing(err); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("protocol 250: %v", err)
	}
}

func TestUnsupportedSockets(t *testing.T) {
	mptcp := net.ListenConfig{Control: reuse.Port.Control}
	mptcp.SetMultipathTCP(true)
	for name, listen := range map[string]func() (net.Listener, error){
		"Multipath TCP": func() (net.Listener, error) { return mptcp.Listen(t.Context(), "tcp", "127.0.0.1:0") },
		"no option":     func() (net.Listener, error) { return reuse.Listen("tcp", "127.0.0.1:0") },
		"unix":          func() (net.Listener, error) { return net.Listen("unix", "@reuse-group-test") },
	} {
		ln, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := ln.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(c)
		if name == "Multipath TCP" {
			if v, _ := os.ReadFile("/proc/sys/net/mptcp/enabled"); string(v) != "1\n" {
				continue // the kernel has none, and net falls back to TCP
			}
			if !errors.Is(err, ErrMPTCP) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s != nil || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v, want errors.ErrUnsupported", name, err)
		}
	}
}

// A Key names a group, and no other.
func TestKeyString(t *testing.T) {
	var keys []Key
	for _, at := range []string{"127.0.0.1:9999", "127.0.0.1:9998", "[::1]:9999", "[::]:9999"} {
		for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			local := netip.MustParseAddrPort(at)
			k := Key{protocol: protocol, family: unix.AF_INET, local: local}
			if local.Addr().Is6() {
				k.family = unix.AF_INET6
			}
			keys = append(keys, k)
			k.device = 1
			keys = append(keys, k)
			k.uid = 1
			keys = append(keys, k)
			if k.family == unix.AF_INET6 {
				k.v6only = true
				keys = append(keys, k)
			}
		}
	}
	var names []string
	for _, k := range keys {
		names = append(names, k.String())
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n != len(keys) {
		t.Errorf("%d names of %d keys: %q", n, len(keys), names)
	}
}
