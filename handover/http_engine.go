package handover

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// A member is one of the group's sockets.
type member struct{}

// A Drainable is a socket that can be drained: a *[Listener].
type Drainable interface {
	Drain(context.Context) error
	Close() error
	members() []*member
}

func (l *Listener) members() []*member { return nil }

// drainThen drains socks, and calls steered when new connections of all of them go
// to others. After an error before that nothing has changed.
func drainThen(ctx context.Context, steered func(), socks ...Drainable) error {
	groups := map[string][]socket{}
	for _, s := range socks {
		l := s.(*Listener)
		key := l.Addr().String()
		if !slices.Contains(groups[key], l.sock) {
			groups[key] = append(groups[key], l.sock)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	left := len(groups)
	failed := make(chan error, len(groups))
	for addr, socks := range groups {
		go func() {
			err := drainAllThen(ctx, socks, sync.OnceFunc(func() {
				mu.Lock()
				defer mu.Unlock()
				if left--; left == 0 {
					steered()
				}
			}))
			if err != nil {
				err = fmt.Errorf("handover of %s: %w", addr, err)
			}
			failed <- err
		}()
	}
	var first error
	for range groups {
		if err := <-failed; err != nil && first == nil {
			first = err
			mu.Lock()
			if left > 0 {
				cancel(err)
			}
			mu.Unlock()
		}
	}
	return first
}
