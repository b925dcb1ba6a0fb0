package main

import (
	"context"
	"fmt"

	"example.com/reuse/handover"
)

// A shards is several sockets on one port, each with an application of its own.
type shards struct {
	way     *way
	sockets []any
	parts   []application
}

// shards opens s.Shard sockets.
func (w *way) shards(s scenario) (application, error) {
	a := &shards{way: w}
	// What has to happen before they are closed happens to all at once.
	each := *w
	each.before = func(context.Context, any) error { return nil }
	n := s.Shard
	for s.Shard = 0; n > 0; n-- {
		part, err := each.application(s)
		if err != nil {
			return nil, err
		}
		switch p := part.(type) {
		case *stream:
			a.sockets = append(a.sockets, p.ln)
		case *datagrams:
			a.sockets = append(a.sockets, p.conn)
		default:
			return nil, fmt.Errorf("no shard of %T", p)
		}
		a.parts = append(a.parts, part)
	}
	return a, nil
}

func (a *shards) leave(ctx context.Context) error {
	if err := a.way.beforeAll(ctx, a.sockets); err != nil {
		return err
	}
	for _, p := range a.parts {
		if err := p.leave(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *shards) finish(ctx context.Context) error {
	for _, p := range a.parts {
		if err := p.finish(ctx); err != nil {
			return err
		}
	}
	return nil
}

// drainAll is handover.DrainAll.
func drainAll(ctx context.Context, sockets []any) error {
	var all []handover.Drainable
	for _, s := range sockets {
		all = append(all, s.(handover.Drainable))
	}
	return handover.DrainAll(ctx, all...)
}
