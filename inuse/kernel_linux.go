package inuse

import (
	"context"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A kernel is asked for sockets, through netlink or, where that is missing,
// procfs.
type kernel struct {
	conn  *sockdiag.Conn // nil without netlink
	bound answer         // whether it lists sockets that are bound only
}

func openKernel() *kernel {
	conn, err := sockdiag.Open()
	if err != nil {
		return &kernel{}
	}
	return &kernel{conn: conn}
}

func (k *kernel) close() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

// listsBound reports whether the kernel lists sockets that are bound only, as Linux
// does since 6.8. It binds one for a moment, to a port that the kernel chooses, and asks.
func (k *kernel) listsBound(ctx context.Context) bool {
	if k.bound == maybe {
		k.bound = no
		if k.conn != nil && k.seesOwn(ctx) {
			k.bound = yes
		}
	}
	return k.bound == yes
}

func (k *kernel) seesOwn(ctx context.Context) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) != nil || unix.Fstat(fd, &stat) != nil ||
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) != nil {
		return false
	}
	name, err := unix.Getsockname(fd)
	own, ok := name.(*unix.SockaddrInet4)
	if err != nil || !ok {
		return false
	}
	sockets, err := k.conn.Sockets(ctx, sockdiag.Request{
		Protocol: unix.IPPROTO_TCP, States: sockdiag.Set(sockdiag.Bound), LocalPort: uint16(own.Port),
	})
	return err == nil && slices.ContainsFunc(sockets, func(s sockdiag.Socket) bool { return s.Inode == uint32(stat.Ino) })
}

// sockets returns the sockets that r selects.
func (k *kernel) sockets(ctx context.Context, r sockdiag.Request) ([]sockdiag.Socket, error) {
	if k.conn != nil {
		sockets, err := k.conn.Sockets(ctx, r)
		if err == nil || !sockdiag.Missing(err) {
			return sockets, err
		}
		k.close() // procfs, from now on
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
