// Package reuse opens sockets that a restarted server can bind immediately, on the
// port it used before.
//
// A port that cannot be bound ("address already in use") is held by one of three
// things, and each has a different cure:
//
//   - Connections of the previous process that are still closing (TIME_WAIT,
//     FIN_WAIT, LAST_ACK) or that a child process still serves. [Addr] binds over
//     them: it is SO_REUSEADDR.
//   - The previous process itself, which still listens. [Port] lets both listen
//     until the old one stops: it is SO_REUSEPORT, and both have to set it.
//   - A unix socket's file, which outlives its owner. [Addr] replaces it.
//
// [Listen] and [ListenPacket] have the signatures of net.Listen and
// net.ListenPacket, use Addr and return what those return. Port is opt-in by name,
// as in reuse.Port.Listen("tcp", ":9999"). To pass a context, set keep-alive or add
// a Control hook, use [Mode.ListenConfig], [Mode.Control] and [Mode.With] with a
// net.ListenConfig or a net.Dialer.
//
// Three packages beside this one do more:
//
//   - [example.com/reuse/inuse] reports why a bind failed: which of these it was, or
//     some other cause, who holds the port, and what frees it. The command
//     cmd/whyinuse does the same for servers in any language.
//   - [example.com/reuse/handover] replaces a server by its successor while both have
//     the port, and loses no connection.
//   - [example.com/reuse/shard] opens several sockets on one port in one process.
//
// # What package net does by itself
//
// On Unix systems net.Listen sets SO_REUSEADDR on every TCP listener, and always
// has: Listen("tcp", …) binds as net.Listen("tcp", …) does. For a TCP listener, Addr
// is no reason to import this package, unless the server accepts very many
// connections: accepting costs fewer system calls ([Mode.Listen]).
//
// Package net does not share a port (Port), replace a stale unix socket file, bind a
// client's socket with SO_REUSEADDR, or keep others off a UDP port that was bound
// with it. On Windows net sets nothing, and an immediate rebind needs nothing.
//
// # Systems
//
//	                   Addr, TCP        Port                          stale unix socket file
//	Linux              SO_REUSEADDR     SO_REUSEPORT, spreads load    replaced
//	FreeBSD            SO_REUSEADDR     SO_REUSEPORT_LB, spreads load replaced
//	                                    but at ":9999" and "[::]:9999"
//	DragonFly          SO_REUSEADDR     SO_REUSEPORT, spreads load    replaced
//	macOS, NetBSD,     SO_REUSEADDR     SO_REUSEPORT, does not        replaced
//	OpenBSD
//	AIX                SO_REUSEADDR     SO_REUSEPORT, newer ones do   as package net
//	Solaris, illumos   SO_REUSEADDR     errors.ErrUnsupported         as package net
//	Windows            needs nothing    errors.ErrUnsupported         as package net
//	Plan 9, js, wasip1 errors.ErrUnsupported
//
// "Spreads load" is what [Balances] reports for an address. On FreeBSD a socket that
// takes both IPv4 and IPv6 gets no share: open "tcp4" and "tcp6" apart. In a jail
// that is so for every socket up to FreeBSD 13, and on DragonFly.
//
// On UDP, Addr differs from package net on Linux only: it binds over sockets that
// have SO_REUSEADDR ([Mode.ListenPacket]).
//
// Linux is tested. What is said of Port on FreeBSD and NetBSD was measured with the
// network stacks of FreeBSD 13 and NetBSD 7.99 in user space. The rest is from the
// systems' documentation and sources, and the code is built and vetted for them.
//
// # Errors
//
// All functions return the errors of package net: a *net.OpError that wraps
// the system's error. On Unix systems errors.Is(err, syscall.EADDRINUSE) holds
// where the address is in use; on Windows net reports windows.WSAEADDRINUSE,
// which is another value. errors.Is(err, errors.ErrUnsupported) holds where the
// system, the kernel or the network cannot do what was asked for: nothing is
// left out silently. A failed call leaves no descriptor open.
package reuse
