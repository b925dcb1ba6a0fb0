package group

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A Dump is all sockets at the addresses of some at one time, by what their group
// has in common.
type Dump map[Key][]sockdiag.Member

// Look asks the kernel for the sockets at the addresses of socks: one question for
// all ports of a protocol and family, if there are several.
func Look(ctx context.Context, diag *sockdiag.Conn, socks ...*Socket) (Dump, error) {
	type table struct{ protocol, family uint8 }
	ports := map[table]uint16{}
	for _, s := range socks {
		t, port := table{s.Key.protocol, s.Key.family}, s.Key.local.Port()
		if other, ok := ports[t]; ok && other != port {
			port = 0 // any
		}
		ports[t] = port
	}
	dump := Dump{}
	for t, port := range ports {
		states := sockdiag.Set(sockdiag.Listen)
		if t.protocol == unix.IPPROTO_UDP {
			states = sockdiag.Set(sockdiag.Close, sockdiag.Established)
		}
		rows, err := diag.Members(ctx, sockdiag.Request{Protocol: t.protocol, Family: t.family, States: states, LocalPort: port})
		if err != nil {
			return nil, Missing(err)
		}
		for _, row := range rows {
			device := row.Interface &^ hidden
			if announces(row) {
				device &^= coming
			}
			k := Key{t.protocol, row.Family, row.Local, device, row.V6Only, row.UID}
			dump[k] = append(dump[k], row)
			if row.Family == unix.AF_INET6 && !row.V6OnlyKnown { // it is connected
				k.v6only = true
				dump[k] = append(dump[k], row)
			}
		}
	}
	return dump, nil
}

// Members are those of a group at one time.
type Members struct {
	All    []uint64          // cookies, in ascending order
	Marks  []sockdiag.Member // those that are marked, other than the one that asked
	Coming int               // how many TCP sockets are bound, and are going to listen (see Announce)
	// Connected is how many UDP sockets of the address are connected. They get
	// what their peer sends only, and may still have a slot (see Slots).
	Connected int
	marked    bool // the one that asked is marked
}

func announces(row sockdiag.Member) bool {
	return row.Protocol == unix.IPPROTO_TCP && row.Interface&(coming|ghosts) == coming
}

// ErrElsewhere says that a socket is not among those of the network namespace
// that the calling thread is in.
var ErrElsewhere = errors.New("the socket is not in the calling thread's network namespace")

// Members returns the members of the group that s is in.
func (d Dump) Members(s *Socket) (Members, error) {
	var m Members
	self := false
	for _, row := range d[s.Key] {
		if row.State == sockdiag.Established {
			m.Connected++
			continue
		}
		if announces(row) {
			m.Coming++
			continue
		}
		m.All = append(m.All, row.Cookie)
		switch {
		case row.Cookie == s.Cookie:
			self, m.marked = true, row.Mark
		case row.Mark:
			m.Marks = append(m.Marks, row)
		}
	}
	if self {
		slices.Sort(m.All)
		return m, nil
	}
	if err := s.Control(func(uintptr) {}); err != nil {
		return Members{}, err // closed
	}
	if listens, err := s.Listening(); s.Protocol == unix.IPPROTO_TCP && (err != nil || !listens) {
		return Members{}, errors.Join(ErrNotListening, err)
	}
	return Members{}, ErrElsewhere
}

// ErrNotListening says that a TCP socket is in no group, since it does not listen.
var ErrNotListening = errors.New("the socket does not listen")

// Listened reports whether a TCP socket listens at an address, of the family and
// device of c, which is not bound yet.
func Listened(ctx context.Context, diag *sockdiag.Conn, c syscall.RawConn, at netip.AddrPort) bool {
	var family, device int
	err := control(c, func(fd int) (err error) {
		if family, err = getsockopt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN, "SO_DOMAIN"); err == nil {
			device, err = getsockopt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, "SO_BINDTOIFINDEX")
		}
		return err
	})
	if err != nil {
		return false
	}
	rows, err := diag.Sockets(ctx, sockdiag.Request{
		Protocol: unix.IPPROTO_TCP, Family: uint8(family), States: sockdiag.Set(sockdiag.Listen), LocalPort: at.Port(),
	})
	return err == nil && slices.ContainsFunc(rows, func(s sockdiag.Socket) bool {
		return s.Local.Addr() == at.Addr().WithZone("") && (s.Interface == uint32(device) || at.Addr().Zone() != "")
	})
}

// Same reports whether the members are those of a set without an order.
func (m *Members) Same(cookies []uint64) bool {
	return len(cookies) == len(m.All) && slices.Equal(slices.Sorted(slices.Values(cookies)), m.All)
}

// Missing adds errors.ErrUnsupported, and the cure, to an error that says that
// sock_diag is not to be had.
func Missing(err error) error {
	if err == nil || !sockdiag.Missing(err) || errors.As(err, new(*missingError)) {
		return err
	}
	cure := "a filter of system calls, or a security module, has to allow netlink's NETLINK_SOCK_DIAG"
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		cure = "in a systemd unit, add AF_NETLINK to RestrictAddressFamilies="
	case errors.Is(err, unix.EPROTONOSUPPORT):
		cure = "this kernel has no NETLINK_SOCK_DIAG"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		cure = "load the modules inet_diag, tcp_diag and udp_diag"
	}
	return &missingError{err, cure}
}

type missingError struct {
	err  error
	cure string
}

func (e *missingError) Error() string { return fmt.Sprintf("needs sock_diag: %v (%s)", e.err, e.cure) }

func (e *missingError) Unwrap() []error { return []error{e.err, errors.ErrUnsupported} }
