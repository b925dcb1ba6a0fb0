package handover

import (
	"context"
	"fmt"
	"syscall"
)

var _ Drainable = (*Member)(nil)

// A Member is a socket of another process, of which this one has a copy of the
// descriptor, for programs that replace servers which know nothing of this package.
type Member struct{ m *member }

// Adopt returns the Member of a TCP listener, or a UDP socket, with SO_REUSEPORT,
// which c gives calls access to. It changes nothing of the socket, not even
// O_NONBLOCK, and c stays the caller's, to be closed after the Member is done with.
// Errors are those of [New].
func Adopt(c syscall.RawConn) (*Member, error) {
	m, err := adoptRaw(c)
	if err != nil {
		return nil, fmt.Errorf("handover of a descriptor: %w", err)
	}
	return &Member{m}, nil
}

// Drain is that of [Listener]: the process goes on accepting, or reading.
func (m *Member) Drain(ctx context.Context) error {
	if err := drainThen(ctx, nil, m); err != nil {
		return fmt.Errorf("handover of a descriptor: %w", err)
	}
	return nil
}

func (m *Member) members() []*member { return []*member{m.m} }

// Hold keeps newcomers back: new connections, or datagrams, go to those that are in
// the group now, but the given share, from 0 to 1, which goes to the next socket that
// joins. It may be called again, with another share. It lasts until Resume, or until
// the group is drained: then all goes to the newcomers, from one moment to the next. A
// Drain that fails undoes it, too.
//
// If one of those that were there leaves, newcomers get what it had, and Hold
// returns an error when it is called again. Errors are those of [Listener.Drain]
// otherwise; nothing has changed then.
func (m *Member) Hold(ctx context.Context, share float64) error {
	if err := m.m.hold(ctx, share); err != nil {
		return fmt.Errorf("hold of a descriptor's port: %w", err)
	}
	return nil
}

// Resume undoes Hold, or Drain: the socket, and those that were drained with it,
// have their share again. A Member of which it is the last call has left no trace.
func (m *Member) Resume(ctx context.Context) error {
	if err := m.m.resume(ctx); err != nil {
		return fmt.Errorf("handover of a descriptor, taken back: %w", err)
	}
	return nil
}

// Close takes the socket out of its group, if it was drained. That is so for every
// process with a descriptor of it: a server that still accepts from it gets an error,
// so end the server before. Close undoes Hold. It does nothing to a socket that
// serves, and it does not close c.
func (m *Member) Close() error { return m.m.leave() }
