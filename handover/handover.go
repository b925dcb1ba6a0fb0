package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// ErrNoSuccessor is the error of a Drain that finds nobody to hand over to, or no
// longer: the socket serves on as before. A successor shares the port if it has
// the same address, family, device and user, and IPV6_V6ONLY as well.
var ErrNoSuccessor = errors.New("nobody else listens there")

// ErrUnknownSlot is the error of a Drain that does not know which member of its
// group the socket is, and so cannot keep packets away from it: the socket serves
// on as before. It helps to stop the other members, but one, and to drain then.
var ErrUnknownSlot = errors.New("the socket's slot in its group is unknown")

var _ net.Listener = (*Listener)(nil)

// A Listener is a TCP listener that can be drained. Accepting costs no system
// call more than with net's.
type Listener struct {
	*net.TCPListener
	sock    socket
	handed  handed
	retired atomic.Bool // closed by Shutdown, to Accept it is not yet
	closed  chan struct{}
	closing sync.Once
}

// Listen listens as reuse.Port.Listen does, and joins whoever listens there
// already. Networks are "tcp", "tcp4" and "tcp6".
//
// It takes away what program the group has, unless somebody drains. Where the
// kernel has no TCP_MD5SIG, and somebody listens already, a goroutine looks at the
// group from time to time, until the listener is alone or closed.
func Listen(network, address string) (*Listener, error) {
	ln, sock, err := listen(network, address)
	if err != nil {
		return nil, err
	}
	return newListener(ln, sock), nil
}

// New adopts a listener that was opened with reuse.Port, or by any means with
// SO_REUSEPORT: a *net.TCPListener. For others, and for Multipath TCP listeners,
// errors.Is(err, errors.ErrUnsupported) holds. The caller uses, and closes, only
// the new one from then on; after an error, the old one.
func New(ln net.Listener) (*Listener, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("handover of a %T: %w", ln, errors.ErrUnsupported)
	}
	sock, err := adopt(tcp)
	if err != nil {
		return nil, fmt.Errorf("handover of %v: %w", ln.Addr(), err)
	}
	return newListener(tcp, sock), nil
}

func newListener(ln *net.TCPListener, sock socket) *Listener {
	return &Listener{TCPListener: ln, sock: sock, closed: make(chan struct{})}
}

// Drain makes all new connections go to the other listeners of the group, and
// returns nil when none is left that closing the listener would lose. The
// application accepts connections meanwhile, and should close the listener
// then.
//
// It takes two grace periods of the kernel (10 to 20 ms each) and as long as the
// slowest handshake that was under way: a round trip or, when a packet was lost, a
// second more. A client that began a handshake and is gone holds it up for a
// minute, unless ctx ends before. Connections that TCP_DEFER_ACCEPT holds back are
// accepted.
//
// Errors: if the others are gone, or go meanwhile, errors.Is(err, ErrNoSuccessor) holds,
// and the listener serves on. If ctx ends, the error wraps its cause and tells
// what was left; the listener is open, gets no new connections as long as the
// others listen (it serves on if its slot is unknown), and can be drained again or
// closed. After any other error the listener serves on as before;
// errors.Is(err, errors.ErrUnsupported) holds where kernel or sandbox lack what it
// takes, errors.Is(err, ErrUnknownSlot) where the listener's slot could not be
// learnt.
//
// Of several listeners of one group, in one process or several, one is drained
// at a time: the next Drain waits until the one before is closed.
func (l *Listener) Drain(ctx context.Context) error {
	if err := l.sock.drain(ctx); err != nil {
		return fmt.Errorf("handover of %v: %w", l.Addr(), err)
	}
	return nil
}

// Accept is AcceptTCP.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptTCP is that of *net.TCPListener.
func (l *Listener) AcceptTCP() (*net.TCPConn, error) {
	c, err := acceptNoted(&l.handed, l.TCPListener.AcceptTCP)
	if err != nil {
		if l.retired.Load() {
			<-l.closed
		}
		return nil, err
	}
	return c, nil
}

// Close closes the listener. After a Drain that returned nil that loses nothing;
// it waits for another grace period then. A process that ends without Close leaves
// the kernel a moment, of less than a microsecond, in which it can lose something.
func (l *Listener) Close() error {
	first := false
	l.closing.Do(func() { first = true; close(l.closed) })
	if l.retired.Load() && first {
		return nil
	}
	return l.closeSocket()
}

func (l *Listener) closeSocket() error {
	l.sock.leave()
	return l.TCPListener.Close()
}

// leave closes the socket of a drained listener, so that others can be drained,
// while Accept goes on waiting until Close. An accept loop that ended early
// would pass for a failure.
func (l *Listener) leave() error {
	l.retired.Store(true)
	return l.closeSocket()
}

var _ net.PacketConn = (*PacketConn)(nil)

// A PacketConn is a UDP socket that can be drained.
type PacketConn struct {
	*net.UDPConn
	sock socket
}

// ListenPacket opens a UDP socket as reuse.Port.ListenPacket does, and joins
// whoever has the port already. Networks are "udp", "udp4" and "udp6".
//
// If there was somebody, and the socket is one of IPv4, a goroutine looks at the
// group from time to time, at most once in a second, until the socket is alone or
// closed: that is how it knows its slot.
func ListenPacket(network, address string) (*PacketConn, error) {
	pc, sock, err := listenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return &PacketConn{UDPConn: pc, sock: sock}, nil
}

// Drain makes all datagrams that arrive go to the other sockets of the group, and
// returns nil when none is left that closing the socket would lose. The
// application reads meanwhile, and has to answer what it has read before it closes
// the socket. Errors are those of [Listener.Drain].
func (pc *PacketConn) Drain(ctx context.Context) error {
	if err := pc.sock.drain(ctx); err != nil {
		return fmt.Errorf("handover of %v: %w", pc.LocalAddr(), err)
	}
	return nil
}

// Close closes the socket, as [Listener.Close] does. One of IPv6 that is drained
// makes a call of connect, which fails, and by which packets find it no longer.
func (pc *PacketConn) Close() error {
	pc.sock.leave()
	return pc.UDPConn.Close()
}
