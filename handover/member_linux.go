package handover

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"example.com/reuse/internal/group"
	"example.com/reuse/internal/procfs"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A member is a socket that can be drained, or knows why not.
type member struct {
	conn syscall.RawConn
	*group.Socket
	err error // why it cannot be drained

	closing context.Context // ends when Close begins
	close   context.CancelFunc

	announced *os.File // until it listens; nil if it always did

	order uint64              // random; several are taken in this order
	turn  chan struct{}       // holds a value while somebody works on it
	set   atomic.Pointer[set] // what it was drained or held with; nil if it serves
	left  atomic.Bool         // it is out of its group, or will be when it is closed

	// Of the set.
	claimed bool // it has the claim on its group
	hidden  bool // packets do not find it
}

// newMember returns the member of a socket that is bound.
func newMember(c syscall.RawConn) *member {
	m := &member{conn: c, order: rand.Uint64(), turn: make(chan struct{}, 1)}
	m.closing, m.close = context.WithCancel(context.Background())
	m.open()
	return m
}

func (m *member) open() { m.Socket, m.err = group.Open(m.conn) }

// lacks returns why the socket cannot be drained. It looks again if memory or
// descriptors were scarce. The caller has the turn.
func (m *member) lacks() error {
	if scarce(m.err) {
		m.open()
	}
	return m.err
}

// scarce reports whether err is one that passes.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// take waits for the right to work on the member, until give.
func (m *member) take(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *member) give() { <-m.turn }

// takeAll takes members, until giveAll of those that it returns.
func takeAll(ctx context.Context, members []*member) (taken []*member, err error) {
	for _, m := range members {
		if err := m.take(ctx); err != nil {
			return taken, err
		}
		taken = append(taken, m)
		if m.closing.Err() != nil {
			return taken, net.ErrClosed
		}
	}
	return taken, nil
}

func giveAll(members []*member) {
	for _, m := range members {
		m.give()
	}
}

// untilClosing returns a context that ends as well when Close of one of members begins.
func untilClosing(ctx context.Context, members ...*member) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var stops []func() bool
	for _, m := range members {
		stops = append(stops, context.AfterFunc(m.closing, func() { cancel(net.ErrClosed) }))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel(nil)
	}
}

// remember keeps what it takes to learn slots when the process has given up the
// privileges that it has now. Where that fails it is an error of the Drain that needs
// it.
func (m *member) remember() {
	if m.err != nil || unix.Geteuid() != 0 && int(m.Key.Port()) >= proc.UnprivilegedPortStart() {
		return
	}
	diag, err := sockdiag.Open()
	if err != nil {
		return
	}
	defer diag.Close()
	m.Remember(context.Background(), diag)
}

// proc is where the kernel's settings are.
const proc = procfs.FS("/proc")

// joined takes away what program an earlier member left, unless somebody drains.
// Errors are those that Drain returns when they matter.
func (m *member) joined(ctx context.Context) {
	if m.err != nil {
		return
	}
	diag, err := sockdiag.Open()
	if err != nil {
		return
	}
	defer diag.Close()
	if claimed, err := m.TryClaim(ctx, diag); err == nil && claimed {
		m.Detach()
		m.Release()
	}
}

// listen makes the socket of a listener listen, that is only bound.
func (m *member) listen() error {
	if err := group.Listen(m.conn); err != nil {
		return err
	}
	m.announced.Close()
	select {
	case m.turn <- struct{}{}:
		defer m.give()
		if m.set.Load() == nil {
			m.joined(context.Background())
		}
	default: // it is drained already
	}
	return nil
}

// leave takes a socket that was drained out of its group, before it is closed.
func (m *member) leave() error {
	m.close()
	m.announced.Close()
	m.turn <- struct{}{}
	defer m.give()
	if s := m.set.Load(); s != nil {
		return s.leave(m)
	}
	return nil
}

func (m *member) hasLeft() bool { return m.left.Load() }
