package inuse

import (
	"context"
	"errors"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// listening returns the sockets that listen, and who has them.
func listening(ctx context.Context) ([]Holder, asker, sight, error) {
	asker := newAsker()
	sockets, err := listeningSockets(ctx)
	if err != nil {
		return nil, asker, sight{}, err
	}
	groups := make([]*group, len(sockets))
	for i, s := range sockets {
		groups[i] = &group{Socket: s, count: 1}
		if s.Inode != 0 {
			groups[i].inodes = []uint32{s.Inode}
		}
	}
	sight := findOwners(ctx, groups, func(*group) bool { return true })
	holders := make([]Holder, len(groups))
	for i, g := range groups {
		holders[i] = g.holder()
	}
	return holders, asker, sight, nil
}

// listeningSockets asks the kernel for the TCP sockets that listen and the UDP sockets
// that have a port and are not connected.
func listeningSockets(ctx context.Context) (all []sockdiag.Socket, err error) {
	conn, err := sockdiag.Open()
	if err == nil {
		defer conn.Close()
	}
	missing := err
	for _, r := range []sockdiag.Request{
		{Protocol: unix.IPPROTO_TCP, States: sockdiag.Set(sockdiag.Listen)},
		{Protocol: unix.IPPROTO_UDP, States: sockdiag.Set(sockdiag.Close)},
	} {
		var sockets []sockdiag.Socket
		err := missing
		if err == nil {
			sockets, err = conn.Sockets(ctx, r)
		}
		if err != nil && sockdiag.Missing(err) {
			sockets, err = sockdiag.ReadProc(r)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		all = append(all, sockets...)
	}
	return slices.DeleteFunc(all, func(s sockdiag.Socket) bool { return s.Local.Port() == 0 }), nil
}
