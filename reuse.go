package reuse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"example.com/reuse/internal/keepalive"
)

// Listen is [Mode.Listen] of Addr: net.Listen that binds immediately over what closed
// connections, or a unix socket's dead owner, left behind.
func Listen(network, address string) (net.Listener, error) {
	return Addr.Listen(network, address)
}

// ListenPacket is [Mode.ListenPacket] of Addr.
func ListenPacket(network, address string) (net.PacketConn, error) {
	return Addr.ListenPacket(network, address)
}

// A Mode is a set of socket options that decide who may share an address: Addr, Port,
// or Addr|Port. The zero Mode adds nothing to package net.
type Mode uint8

const (
	// Addr binds over what is left of closed sockets: SO_REUSEADDR.
	//
	// On TCP these are connections of a previous listener in any state. They
	// have to have SO_REUSEADDR too. Connections that a listener accepted
	// inherit it; those that net.Dial opened lack it unless the Dialer has
	// Addr.Control. Addr never binds over a live listener (Linux:
	// inet_csk_get_port, inet_bind_conflict).
	//
	// On Windows a bind needs no option for that. SO_REUSEADDR, which there lets
	// every process take over a live port, is never set.
	// SO_EXCLUSIVEADDRUSE is not set either: it refuses a rebind while a
	// connection of the former listener lives (Microsoft, "Using SO_REUSEADDR
	// and SO_EXCLUSIVEADDRUSE").
	Addr Mode = 1 << iota

	// Port lets several live sockets have one port, if all of them were
	// opened with Port, on Linux and most other systems by the same user:
	// SO_REUSEPORT, on FreeBSD SO_REUSEPORT_LB. Balances reports whether the
	// kernel then distributes connections and datagrams among them.
	//
	// Use it where two instances are to run at once: to replace a process by
	// its successor, or for one socket per worker. Do not use it otherwise: a
	// second instance that is started by accident is not refused. It takes its
	// share of the clients, silently. Closing one of several listeners resets
	// the connections that wait in its queue.
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
// sockets that Port.Listen or Port.ListenPacket opens at address. Where it does
// not, one of the sockets can get them all, or Port is not supported.
//
// The networks are "tcp", "tcp4", "tcp6", "udp", "udp4" and "udp6". Linux (3.9)
// spreads them at every address, and so does DragonFly (3.6), but not in a jail.
// FreeBSD (12) does so unless the socket takes both versions of IP, and up to
// FreeBSD 13 not in a jail. A socket takes both if the network is "tcp" or "udp" and
// the host is empty, "0.0.0.0" or "::", as in ":9999". Open "tcp4" and "tcp6" apart
// there.
func Balances(network, address string) bool {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return balances(isDual(network, address)) // reuse_linux.go, reuse_freebsd.go, reuse_dragonfly.go, others
	}
	return false
}

// isDual reports whether package net opens one socket for both versions of IP, if
// the system has both and lets a socket take both: at a wildcard address, in any of
// its spellings. It looks no name up.
func isDual(network, address string) bool {
	if network != "tcp" && network != "udp" {
		return false
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().WithZone("").IsUnspecified()
}

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
// Unix sockets: with Addr Listen replaces a socket file that no socket is bound to
// any more. On Windows it is package net's. Port is errors.ErrUnsupported. Listen
// leaves these alone, and returns EADDRINUSE:
//
//   - The file of a live socket, whether it listens or not.
//   - Anything that is not a socket: a symbolic link, a regular file, a directory.
//   - A file of which the kernel cannot tell whether it is stale. It knows its own
//     sockets only, so on a file system that other hosts can have, such as NFS, 9p,
//     virtiofs or another one of FUSE, the server of another host looks dead. In
//     gVisor only the files of datagram sockets are told, on AIX, Solaris and
//     illumos none. The error wraps errors.ErrUnsupported as well.
//
// Of several that start at the same time one gets the path, and the others get
// EADDRINUSE. For that Listen makes and locks a file, address + ".reuse-lock", for a
// moment. If the process is killed in that moment the file stays, and blocks nobody.
func (m Mode) Listen(network, address string) (net.Listener, error) {
	if err := m.check(network); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: literal(network, address), Err: err}
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
// binds as package net does, without it. On Linux, if that is refused, it binds with
// SO_REUSEADDR and takes the option away from the socket at once. Nobody can bind
// on top of it later. This has limits:
//
//   - Between these two calls a process that sets SO_REUSEADDR by itself can bind
//     the port, too. Others that use ListenPacket cannot: of several that start
//     at the same time one gets the port. They wait for each other, for a second at
//     most, by an abstract unix socket, "@reuse-udp-" and the port. Where that
//     cannot be had, the error is EADDRINUSE and says so.
//   - A socket that was there before stays, and can get the datagrams back by
//     connecting. Addr is no protection against who held the port first.
//   - On other systems, gVisor among them, the error of the first bind stands.
//
// Multicast addresses keep SO_REUSEADDR, as with package net: there every socket
// gets its copy.
//
// With Port, sockets of the same user that have it share the port; it sets
// SO_REUSEPORT alone, which on Linux keeps other users out. On Linux port 0 is a
// port that no other socket has. Elsewhere it can be one that other sockets with
// the option have, because there the option counts only if it is set before bind.
//
// unixgram: a stale socket file is replaced with Addr, as in [Mode.Listen].
// ip: Addr sets SO_REUSEADDR, which raw sockets have on Linux from the start. For
// both, Port is errors.ErrUnsupported.
func (m Mode) ListenPacket(network, address string) (net.PacketConn, error) {
	if err := m.check(network); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: literal(network, address), Err: err}
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

// ListenConfig returns a net.ListenConfig with the Control hook of m. Use it to pass
// a context or to set keep-alive. To add a hook, set its Control to m.With(hook).
// With Port, Multipath TCP is turned off.
//
// Sockets opened through a ListenConfig differ from those of [Mode.Listen] and
// [Mode.ListenPacket] in four ways, because a hook runs before bind:
//
//   - Keep-alive is package net's: KeepAlive and KeepAliveConfig mean what they mean
//     there, and net sets it on each connection.
//   - A stale unix socket file is not replaced.
//   - A unicast UDP socket with Addr keeps SO_REUSEADDR, so every user can bind on
//     top of it and get its datagrams.
//   - A UDP socket with port 0 can get a port that another socket with the same
//     option has already.
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
// Plan 9, js and wasip1. See ListenConfig for what a hook cannot do. An error
// names the option and wraps that of setsockopt; errors.Is(err,
// errors.ErrUnsupported) holds where kernel, system or network lack the option, or
// the kernel takes it and does nothing.
func (m Mode) Control(network, address string, c syscall.RawConn) error {
	if err := m.check(network); err != nil {
		return err
	}
	if strings.HasPrefix(network, "unix") {
		return nil
	}
	if m&Port != 0 {
		if err := setPort(c); err != nil { // reuse_unix.go, reuse_windows.go, reuse_other.go
			return err
		}
		if strings.HasPrefix(network, "tcp") {
			m |= Addr
		}
	}
	if m&Addr != 0 {
		return setAddr(c) // reuse_unix.go, reuse_windows.go, reuse_other.go
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
	case m&^supported != 0: // reuse_linux.go, reuse_bsd.go, reuse_windows.go, others
		return fmt.Errorf("reuse mode %v on this system: %w", m&^supported, errors.ErrUnsupported)
	case m&Port != 0 && (strings.HasPrefix(network, "unix") || strings.HasPrefix(network, "ip")):
		return fmt.Errorf("reuse mode Port on network %s: %w", network, errors.ErrUnsupported)
	}
	return nil
}

// literal returns an address as the caller wrote it, for an error that comes
// before names are looked up.
func literal(network, address string) net.Addr {
	if strings.HasPrefix(network, "unix") {
		return &net.UnixAddr{Name: address, Net: network}
	}
	return literalAddr{network, address}
}

type literalAddr struct{ network, address string }

func (a literalAddr) Network() string { return a.network }
func (a literalAddr) String() string  { return a.address }
