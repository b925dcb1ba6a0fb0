// Package handover replaces a running server by its successor on the same port,
// and loses no connection.
//
// Two processes that listen on a port with SO_REUSEPORT share it. When one
// closes its listener, Linux resets the connections that wait in that one's
// queue, and the handshakes that it began. [Listener.Drain] sees to it that there
// are none: it makes the kernel send all new connections to the others, waits
// until every handshake is over and the application has accepted what was in
// the queue, and returns nil. Then close the listener: nothing is lost.
//
// The successor has to do no more than to listen, with this package or with
// reuse.Port.Listen. No descriptor is passed on, and no privilege is needed; both
// processes run as the same user.
//
//	ln, err := handover.Listen("tcp", ":8080")
//	…                                        // serve; the successor starts
//	err = ln.Drain(ctx)                      // while the accept loop goes on
//	ln.Close()
//
// [HTTPServer] does the same for an http.Server, whose keep-alive connections have to
// be told to go; [ListenPacket] for UDP.
//
// # What nil means
//
// When Drain returns nil, closing the listener at that time loses nothing. If the
// members of the group change later, before the listener is closed, the kernel
// may send it connections again; so close it soon.
//
// Close keeps packets from finding the socket, by a device that does not exist,
// before the kernel takes it apart. Where that is refused (SO_BINDTOIFINDEX: a
// sandbox, or a socket that is bound to a device already, without CAP_NET_RAW) a
// moment remains in which something can be lost; and a far shorter one for UDP
// sockets of IPv4 and, on some kernels, IPv6.
//
// A Drain that cannot be sure returns an error, and says what to do. It never
// guesses which socket of the group it stands for: the kernel knows them by
// numbers, which it does not tell. TCP listeners and UDP sockets of IPv6 learn
// theirs by probes that no application sees (docs/linux.md tells how). A UDP socket
// of IPv4 knows it if it was alone once since it was opened, or saw all changes
// of the group one by one; so does a listener where no probe arrives.
// Where a listener does not know it, Drain makes the kernel drop the SYNs that
// are meant for it, if the process has CAP_NET_ADMIN: nothing is lost, and some
// clients wait for a second. Otherwise it returns [ErrUnknownSlot].
//
// # The group's program
//
// A group of sockets has one classic BPF program (SO_ATTACH_REUSEPORT_CBPF) that
// chooses among them, and a Drain sets it: do not use another one on the same
// port. Members that drain at the same time wait for each other, until the
// first is closed. Close leaves a program that does nothing until another
// socket joins. [Listen], [ListenPacket] and [New] take it away; until then, or
// until a member drains, a socket that joins by other means gets everything that
// is new, or nothing.
//
// # Systems
//
// Linux 5.10 or later. Elsewhere every function returns an error for
// which errors.Is(err, errors.ErrUnsupported) holds. On Linux that holds for
// Multipath TCP listeners, sockets without SO_REUSEPORT, other networks than TCP
// and UDP, and where the kernel or a seccomp filter lacks what a Drain needs
// (sock_diag); there Listen works, and Drain returns the error.
package handover
