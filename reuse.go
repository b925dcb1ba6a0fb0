package reuse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"example.com/reuse/internal/keepalive"
)

// Listen is [Mode.Listen] of Addr: net.Listen, with an immediate rebind over
// what closed connections, or a unix socket's dead owner, left behind.
func Listen(network, address string) (net.Listener, error) {
	return Addr.Listen(network, address)
}

// ListenPacket is [Mode.ListenPacket] of Addr.
func ListenPacket(network, address string) (net.PacketConn, error) {
	return Addr.ListenPacket(network, address)
}

// A Mode says what else may hold an address that is to be bound. Modes combine
// with |. The zero Mode adds nothing to package net.
type Mode uint8

const (
	// Addr passes what is left of closed sockets: SO_REUSEADDR.
	//
	// On TCP these are connections of a former listener in any state. They
	// have to have had SO_REUSEADDR too; those that a listener accepted
	// inherit it, those that net.Dial opened lack it unless the Dialer has
	// Addr.Control. A live listener is never passed (Linux:
	// inet_csk_get_port, inet_bind_conflict).
	//
	// On Windows a bind passes them without any option; SO_REUSEADDR, which
	// there lets every process take over a live port, is never set.
	// SO_EXCLUSIVEADDRUSE is not set either: it refuses a rebind while a
	// connection of the former listener lives (Microsoft, "Using SO_REUSEADDR
	// and SO_EXCLUSIVEADDRUSE").
	Addr Mode = 1 << iota

	// Port lets several live sockets have one port, if all of them were
	// opened with Port, on Linux and most other systems by the same user:
	// SO_REUSEPORT, on FreeBSD SO_REUSEPORT_LB. Whether the kernel then
	// spreads connections and datagrams over them is what Balances reports.
	//
	// Use it where two instances are to run at once: to replace a process by
	// its successor, or for one socket per worker. Do not use it otherwise: a
	// second instance that is started by accident is not refused but takes
	// its share of the clients, silently. And closing one of several
	// listeners resets the connections that wait in its queue.
	//
	// On TCP Port sets SO_REUSEADDR too: Linux (up to 6.12 at least) counts a
	// connection that is closing as root's, so SO_REUSEPORT alone would not
	// pass what a user's former listener left behind.
	Port
)

// String returns "Addr", "Port", "Addr|Port", "0", or a hexadecimal number in
// place of unknown bits.
func (m Mode) String() string {
	var s []string
	if m&Addr != 0 {
		s = append(s, "Addr")
	}
	if m&Port != 0 {
		s = append(s, "Port")
	}
	if rest := m &^ (Addr | Port); rest != 0 {
		s = append(s, fmt.Sprintf("%#x", uint8(rest)))
	}
	if s == nil {
		return "0"
	}
	return strings.Join(s, "|")
}

// Balances reports whether the kernel spreads connections and datagrams over
// sockets that share a port through [Port]: on Linux (3.9), FreeBSD (12) and
// DragonFly (3.6). Elsewhere one of the sockets can get them all, or Port is not
// supported.
func Balances() bool { return balances }

// Listen is net.Listen with the options of m, for the networks "tcp", "tcp4",
// "tcp6", "unix" and "unixpacket". The listener is a *net.TCPListener or a
// *net.UnixListener; names, port 0, dual stack, zones and errors are package
// net's.
//
// TCP: with Addr the listener is the one that net.Listen opens. With Port it is
// plain TCP also where net would use Multipath TCP, because Linux cannot steer
// or filter the connections of a Multipath TCP listener.
//
// Accepted connections have the keep-alive of net.Listen: 15 seconds idle, a
// probe every 15 seconds, 9 probes. On Linux the listener holds these options and
// connections inherit them, which saves four of net's five system calls on each.
// Another keep-alive is set through [Mode.ListenConfig].
//
// Unix sockets: with Addr a socket file that no socket is bound to any more is
// replaced. The file of a live socket is left alone, whether it listens or not,
// and so is anything that is not a socket: a symbolic link, a regular file, a
// directory. Of several that start at the same time, one gets the path and the
// others get EADDRINUSE; to this end a lock file, address + ".reuse-lock",
// exists for a moment. If a process is killed just then the file stays, and blocks
// nobody.
//
// A stale file is not replaced where the kernel cannot know that no socket is
// bound to it: on file systems that other hosts have too, such as NFS, 9p and
// FUSE; in gVisor; and on AIX, Solaris, illumos and Windows. The error is
// EADDRINUSE, and wraps errors.ErrUnsupported as well. Port is
// errors.ErrUnsupported.
func (m Mode) Listen(network, address string) (net.Listener, error) {
	if err := m.check(network); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	var config net.ListenConfig
	if m&Port != 0 {
		// Not Control: SO_REUSEADDR is there already, package net sets it
		// on TCP listeners wherever this package would.
		config.Control = func(_, _ string, c syscall.RawConn) error { return setPort(c) }
		config.SetMultipathTCP(false)
	}
	if m != 0 && strings.HasPrefix(network, "tcp") {
		return keepalive.Listen(context.Background(), config, network, address)
	}
	ln, err := config.Listen(context.Background(), network, address)
	if err != nil {
		if err = m.removeStale(network, address, err); err == nil {
			ln, err = config.Listen(context.Background(), network, address)
		}
	}
	return ln, err
}

// ListenPacket is net.ListenPacket with the options of m, for the networks
// "udp", "udp4", "udp6", "unixgram" and "ip…". The result is a *net.UDPConn,
// *net.UnixConn or *net.IPConn; names, port 0, dual stack, zones and errors are
// package net's.
//
// UDP leaves nothing behind when it is closed, so SO_REUSEADDR helps only
// against live sockets that have it too; and while a socket has it, any process
// of any user can bind the same port and get all its datagrams (Linux). So Addr
// binds as package net does, without it. Only if that is refused it binds with
// SO_REUSEADDR, and takes the option away from the socket at once. Either way
// nobody can bind on top of it later; where the kernel goes by what a socket had
// at its bind (gVisor), the error is errors.ErrUnsupported instead. A socket that
// was there before stays, though, and can get the datagrams back by connecting:
// Addr is no protection against who held the port first. Multicast addresses keep
// SO_REUSEADDR, as with package net: there every socket gets its copy.
//
// With Port, sockets of the same user that have it share the port; it sets
// SO_REUSEPORT alone, which on Linux keeps other users out.
//
// unixgram: a stale socket file is replaced with Addr, as in [Mode.Listen].
// ip: Addr sets SO_REUSEADDR, which raw sockets have on Linux from the start. For
// both, Port is errors.ErrUnsupported.
func (m Mode) ListenPacket(network, address string) (net.PacketConn, error) {
	if err := m.check(network); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if strings.HasPrefix(network, "udp") {
		return m.listenUDP(network, address)
	}
	config := m.ListenConfig()
	pc, err := config.ListenPacket(context.Background(), network, address)
	if err != nil {
		if err = m.removeStale(network, address, err); err == nil {
			pc, err = config.ListenPacket(context.Background(), network, address)
		}
	}
	return pc, err
}

// ListenConfig returns a net.ListenConfig with the Control hook of m, for
// contexts, keep-alive and whatever else package net offers. To add a hook of
// one's own, set its Control to m.With(hook). With Port, Multipath TCP is
// turned off.
//
// A hook runs before bind and knows nothing of what follows. Therefore sockets
// opened through a ListenConfig differ from those of [Mode.Listen] and
// [Mode.ListenPacket] in four ways. Keep-alive is package net's and the caller's
// alone, KeepAlive and KeepAliveConfig mean what they mean there, and net sets it
// on each connection. A stale unix socket file is not replaced.
// A unicast UDP socket with Addr keeps SO_REUSEADDR, so every user can bind on
// top of it and get its datagrams. A UDP socket with port 0 can get a port that
// another socket with the same option has already.
func (m Mode) ListenConfig() *net.ListenConfig {
	config := new(net.ListenConfig)
	if m != 0 {
		config.Control = m.Control
	}
	if m&Port != 0 {
		config.SetMultipathTCP(false)
	}
	return config
}

// A ControlFunc is the type of the Control field of net.ListenConfig and
// net.Dialer.
type ControlFunc = func(network, address string, c syscall.RawConn) error

// Control sets the options of m on a socket that is not bound yet. It is a
// [ControlFunc] for a net.ListenConfig, or for a net.Dialer with a LocalAddr;
// setting it twice does no harm. It sets, on Unix systems:
//
//	      tcp                         udp           ip            unix
//	Addr  SO_REUSEADDR                SO_REUSEADDR  SO_REUSEADDR  nothing
//	Port  SO_REUSEPORT, SO_REUSEADDR  SO_REUSEPORT  ErrUnsupported, as everywhere on Windows
//
// Package net calls Control only if ControlContext is not set, and not at all on
// Plan 9, js and wasip1. What a hook cannot do, ListenConfig tells. An error
// names the option and wraps that of setsockopt; errors.Is(err,
// errors.ErrUnsupported) holds where kernel, system or network lack the option.
func (m Mode) Control(network, address string, c syscall.RawConn) error {
	if err := m.check(network); err != nil {
		return err
	}
	if strings.HasPrefix(network, "unix") {
		return nil
	}
	if m&Port != 0 {
		if err := setPort(c); err != nil {
			return err
		}
		if strings.HasPrefix(network, "tcp") {
			m |= Addr
		}
	}
	if m&Addr != 0 {
		return setAddr(c, true)
	}
	return nil
}

// With returns a hook that calls m.Control and then next, in order, and stops
// at the first error. Nil functions are skipped.
func (m Mode) With(next ...ControlFunc) ControlFunc {
	hooks := append([]ControlFunc{m.Control}, next...)
	hooks = slices.DeleteFunc(hooks, func(f ControlFunc) bool { return f == nil })
	return func(network, address string, c syscall.RawConn) error {
		for _, f := range hooks {
			if err := f(network, address, c); err != nil {
				return err
			}
		}
		return nil
	}
}

// check returns an error that wraps errors.ErrUnsupported if m cannot be had on
// this system or for this network. Networks it does not know are package net's
// to refuse.
func (m Mode) check(network string) error {
	switch {
	case m&^supported != 0:
		return fmt.Errorf("reuse mode %v on this system: %w", m&^supported, errors.ErrUnsupported)
	case m&Port != 0 && (strings.HasPrefix(network, "unix") || strings.HasPrefix(network, "ip")):
		return fmt.Errorf("reuse mode Port on network %s: %w", network, errors.ErrUnsupported)
	}
	return nil
}
