package inuse

import (
	"context"
	"fmt"

	"example.com/reuse/internal/sockdiag"
)

// A kernel is asked for sockets, through netlink or, where that is missing,
// procfs.
type kernel struct {
	conn   *sockdiag.Conn // nil without netlink
	unseen []string
}

func openKernel() *kernel {
	k := new(kernel)
	conn, err := sockdiag.Open()
	if err != nil {
		k.missing(err)
		return k
	}
	k.conn = conn
	return k
}

func (k *kernel) close() {
	if k.conn != nil {
		k.conn.Close()
	}
}

// missing turns to procfs.
func (k *kernel) missing(err error) {
	k.close()
	k.conn = nil
	k.unseen = append(k.unseen, fmt.Sprintf("cgroups, and sockets that are bound only: %v", err))
}

// sockets returns the sockets that r selects.
func (k *kernel) sockets(ctx context.Context, r sockdiag.Request) ([]sockdiag.Socket, error) {
	if k.conn != nil {
		sockets, err := k.conn.Sockets(ctx, r)
		if err == nil || !sockdiag.Missing(err) {
			return sockets, err
		}
		k.missing(err)
	}
	return sockdiag.ReadProc(r)
}

// unixSockets returns all unix sockets.
func (k *kernel) unixSockets(ctx context.Context) ([]sockdiag.UnixSocket, error) {
	if k.conn != nil {
		sockets, err := k.conn.UnixSockets(ctx)
		if err == nil || !sockdiag.Missing(err) {
			return sockets, err
		}
	}
	return sockdiag.ReadProcUnix()
}
