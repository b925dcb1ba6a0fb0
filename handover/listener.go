package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	_ net.Listener = (*Listener)(nil)
	_ syscall.Conn = (*Listener)(nil)
	_ Drainable    = (*Listener)(nil)
)

// A Listener is a TCP listener that can be drained.
type Listener struct {
	ln *net.TCPListener
	m  *member

	start    sync.Once // of listening, at the first Accept
	startErr error
	bound    bool // it does not listen before

	copied   atomic.Bool // others may have the descriptor
	stopped  atomic.Bool // by leave
	socket   sync.Once   // is closed
	closing  sync.Once
	closeErr error
	closed   chan struct{}
	deadline deadline
	handed   handed // to an HTTPServer
}

// Listen opens a listener as reuse.Port.Listen does. If others listen there already,
// it shares the port with them. Networks are "tcp", "tcp4" and "tcp6".
//
// If others do, it only binds, so that errors come at once and no client waits
// for a successor that is not ready; it listens at the first Accept, which returns
// the error of listen(2) then. Of a listener that nobody accepts from nobody gets a
// connection.
//
// It takes away what program the group has, unless somebody drains.
//
// Where sockets cannot be drained it is reuse.Port.Listen or, where that is not
// supported either, reuse.Listen; Drain says why.
func Listen(network, address string) (*Listener, error) {
	ln, m, bound, err := listen(network, address)
	if err != nil {
		return nil, err
	}
	return newListener(ln, m, bound, false), nil
}

// New adopts a listener that was opened with reuse.Port, or by any means with
// SO_REUSEPORT: a *net.TCPListener. A *Listener is returned as it is. For others,
// and for Multipath TCP listeners, errors.Is(err, errors.ErrUnsupported) holds. The
// caller uses, and closes, only the new one from then on; after an error, the old
// one.
func New(ln net.Listener) (*Listener, error) {
	if own, ok := ln.(*Listener); ok {
		return own, nil
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("handover of a %T: %w", ln, errors.ErrUnsupported)
	}
	m, err := adopt(tcp)
	if err != nil {
		return nil, fmt.Errorf("handover of %v: %w", ln.Addr(), err)
	}
	return newListener(tcp, m, false, true), nil
}

func newListener(ln *net.TCPListener, m *member, bound, adopted bool) *Listener {
	l := &Listener{ln: ln, m: m, bound: bound, closed: make(chan struct{})}
	l.copied.Store(adopted)
	return l
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
// accepted. If there are no others, but one that [Listen] has bound and that nobody
// accepts from yet, Drain waits for that for 30 seconds.
//
// Errors: if the others are gone, or go meanwhile, errors.Is(err, [ErrNoSuccessor])
// holds, and the listener serves on. If ctx ends, the error wraps its cause and tells
// what was left; the listener is open, gets no new connections as long as the
// others listen, and can be drained again or closed. If it is closed meanwhile,
// errors.Is(err, net.ErrClosed) holds. After any other error the listener serves on as
// before; errors.Is(err, errors.ErrUnsupported) holds where kernel or sandbox lack
// what it takes, errors.Is(err, [ErrUnknownSlot]) where the listener's slot could not
// be learnt.
//
// Of several listeners of one group, in one process or several, one is drained
// at a time: the next Drain waits until the one before is closed. [DrainAll] drains
// several at once.
func (l *Listener) Drain(ctx context.Context) error {
	if err := drainThen(ctx, nil, l); err != nil {
		return fmt.Errorf("handover of %v: %w", l.Addr(), err)
	}
	return nil
}

func (l *Listener) members() []*member { return []*member{l.m} }

// Accept returns the next connection: a *net.TCPConn.
func (l *Listener) Accept() (net.Conn, error) {
	if err := l.listen(); err != nil {
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
	}
	c, err := acceptNoted(&l.handed, l.ln.AcceptTCP)
	if err == nil {
		return c, nil
	}
	if l.stopped.Load() || l.m.hasLeft() {
		// The socket does not listen any more. An accept loop that ended would pass
		// for a failure.
		err = l.deadline.wait(l.closed, err)
	}
	return nil, err
}

// listen makes a listener listen that is bound only.
func (l *Listener) listen() error {
	l.start.Do(func() {
		if l.bound {
			l.startErr = l.m.listen()
		}
	})
	return l.startErr
}

// Addr returns the address that the listener is bound to.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// SetDeadline sets the time at which Accept gives up. The zero time is none.
func (l *Listener) SetDeadline(t time.Time) error {
	l.deadline.set(t)
	return l.ln.SetDeadline(t)
}

// SyscallConn returns the socket for system calls.
func (l *Listener) SyscallConn() (syscall.RawConn, error) { return l.ln.SyscallConn() }

// File returns a copy of the listener's descriptor. If it is still there when the
// listener was drained and is closed, it does not listen any more.
func (l *Listener) File() (*os.File, error) {
	l.copied.Store(true)
	return l.ln.File()
}

// Close closes the listener. It may be called at any time, and again: it ends a
// Drain that runs, and returns when the first call does. After a Drain that returned
// nil it loses nothing: it waits for another grace period, and takes the socket out
// of its group. Other processes with a descriptor of it cannot accept from it any
// more. The listeners that were drained by the same [DrainAll] leave with it. A process that ends without Close leaves the kernel a moment,
// of less than a microsecond, in which it can lose something.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		err := l.leave()
		close(l.closed)
		l.closeErr = errors.Join(err, l.closeSocket())
	})
	return l.closeErr
}

// empty waits until no handshake is under way and nothing is in the queue of a listener
// that nobody takes over. If no other process can have its descriptor, clients that come
// later are refused.
func (l *Listener) empty(ctx context.Context) { l.m.empty(ctx, !l.copied.Load()) }

// leave stops listening: out of the group, if the listener was drained, or by closing
// the socket. Accept waits until Close.
func (l *Listener) leave() error {
	l.stopped.Store(true)
	err := l.m.leave()
	if !l.m.hasLeft() {
		err = errors.Join(err, l.closeSocket())
	}
	return err
}

func (l *Listener) closeSocket() (err error) {
	l.socket.Do(func() { err = l.ln.Close() })
	return err
}
