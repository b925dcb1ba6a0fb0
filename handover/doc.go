// Package handover replaces a running server by its successor on the same port,
// and loses no connection.
//
// Two processes that listen on a port with SO_REUSEPORT share it. When one closes its
// listener, Linux resets the connections that wait in its queue, and the handshakes
// that it began. [Listener.Drain] sees to it that there are none. It makes the kernel
// send all new connections to the others, waits until every handshake is over and the
// application has accepted what was in the queue, and returns nil. Then close the
// listener: nothing is lost.
//
// The successor has to do no more than to listen, with this package or with
// reuse.Port.Listen. No descriptor is passed on, and no privilege is needed. Both
// processes run as the same user.
//
//	ln, err := handover.Listen("tcp", ":8080")
//	…                                        // serve; the successor starts
//	err = ln.Drain(ctx)                      // while the accept loop goes on
//	ln.Close()
//
// [HTTPServer] does the same for an http.Server, whose clients keep connections and
// have to be told to go; [ListenPacket] for UDP; [DrainAll] for several sockets, of any
// ports; [Adopt] for the sockets of a server that knows nothing of this package.
// [Supported] says before the first restart whether all that works here.
//
// # What nil means
//
// When Drain returns nil, closing the listener at that time loses nothing. If the
// members of the group change later, before the listener is closed, the kernel may
// send it connections again; so close it soon.
//
// Close keeps packets from finding the socket, by a device that does not exist,
// before the kernel takes it apart. Where that is refused (SO_BINDTOIFINDEX: a
// sandbox, or a socket that is bound to a device already, without CAP_NET_RAW) a
// moment remains in which something can be lost; and a far shorter one for UDP
// sockets of IPv4 and, on some kernels, IPv6.
//
// A Drain that cannot be sure returns an error, and says what to do. It never guesses
// which socket of the group it stands for: the kernel knows them by numbers, which it
// does not tell. They are learnt without a packet, from the kernel's own choice among
// sockets that Drain opens for a moment to compare with (docs/linux.md tells how).
// Where that fails Drain returns [ErrUnknownSlot], and the socket serves on: among
// sockets with SO_INCOMING_CPU, and for an adopted socket at whose port this process
// may not open another.
//
// # The group's program
//
// A group of sockets has one classic BPF program (SO_ATTACH_REUSEPORT_CBPF) that
// chooses among them, and a Drain sets it: do not use another one on the same port.
// Members that drain at the same time wait for each other, until the first is closed.
// After Close the program stays attached; it does nothing until another socket
// joins. [Listen], [ListenPacket] and [New] remove it. A socket that joins by other
// means gets everything that is new, or nothing, until then or until a member drains.
//
// # Systems
//
// Linux 5.10 or later. On Linux, Drain returns an error for which errors.Is(err,
// errors.ErrUnsupported) holds for Multipath TCP listeners, sockets without
// SO_REUSEPORT, other networks than TCP and UDP, and where the kernel or a sandbox
// lacks what it needs (sock_diag). Elsewhere it always does. [Listen] and
// [ListenPacket] work in all these places, and [HTTPServer] stops there without
// losing what was accepted.
package handover
