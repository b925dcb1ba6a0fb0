package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"example.com/reuse/internal/group"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A shard is the sockets of a call, which are all members of one group.
type shard struct {
	socks   []*group.Socket
	diag    *sockdiag.Conn
	members group.Members
}

// newShard returns ErrShared if the group has other members. The caller closes
// its diag.
func newShard(ctx context.Context, conns []syscall.RawConn) (*shard, error) {
	s := &shard{}
	for _, c := range conns {
		sock, err := group.Open(c)
		if err != nil {
			return nil, err
		}
		s.socks = append(s.socks, sock)
	}
	var err error
	if s.diag, err = sockdiag.Open(); err != nil {
		return nil, group.Missing(err)
	}
	if err := s.check(ctx); err != nil {
		s.diag.Close()
		return nil, err
	}
	return s, nil
}

// check returns ErrShared unless the sockets are the members.
func (s *shard) check(ctx context.Context) error {
	members, err := look(ctx, s.diag, s.socks[0])
	if err != nil {
		return err
	}
	s.members = members
	cookies := make([]uint64, len(s.socks))
	for i, sock := range s.socks {
		cookies[i] = sock.Cookie
	}
	if !members.Same(cookies) {
		return fmt.Errorf("%w: it has %d sockets, and %d are to be steered to", ErrShared, len(members.All), len(cookies))
	}
	return nil
}

func look(ctx context.Context, diag *sockdiag.Conn, sock *group.Socket) (group.Members, error) {
	dump, err := group.Look(ctx, diag, sock)
	if err != nil {
		return group.Members{}, err
	}
	return dump.Members(sock)
}

// order returns the slots of the sockets.
func (s *shard) order(ctx context.Context) ([]int, error) {
	cookies, err := s.socks[0].Slots(ctx, s.diag, s.members)
	if err != nil {
		return nil, err
	}
	slots := make([]int, len(s.socks))
	for i, sock := range s.socks {
		slots[i] = slices.Index(cookies, sock.Cookie)
	}
	return slots, nil
}

// noOthers returns ErrShared if somebody else is in the group. Where that cannot
// be seen it returns nil.
func noOthers(conns []syscall.RawConn) error {
	s, err := newShard(context.Background(), conns)
	if err == nil {
		s.diag.Close()
	}
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, group.ErrElsewhere) {
		return nil
	}
	return err
}

// errDraining says that the group's program is package handover's.
var errDraining = errors.New("a socket of the port is being drained")

func attach(conns []syscall.RawConn, program []group.Instruction) (err error) {
	if len(program) == 0 || len(program) > group.MaxInstructions {
		return fmt.Errorf("a program of %d instructions: %w", len(program), unix.EINVAL)
	}
	ctx := context.Background()
	s, err := newShard(ctx, conns)
	if err != nil {
		return err
	}
	defer s.diag.Close()
	first := s.socks[0]
	if len(s.socks) == 1 {
		// It gets everything. And a UDP socket whose SO_REUSEPORT was set after
		// bind, as for port 0, has no group yet (reuseport_attach_prog).
		return nil
	}
	claimed, err := first.TryClaim(ctx, s.diag)
	if err != nil {
		return err
	}
	if !claimed {
		return errDraining
	}
	defer first.Release()
	slots, err := s.order(ctx)
	if err == nil {
		err = first.Attach(group.Translate(program, slots))
	}
	if err == nil {
		// Somebody may have come or gone in the meantime.
		err = s.check(ctx)
	}
	if err != nil {
		err = errors.Join(err, first.Detach())
	}
	return err
}

func detach(c syscall.RawConn) error {
	ctx := context.Background()
	sock, err := group.Open(c)
	if err != nil {
		return err
	}
	diag, err := sockdiag.Open()
	if err != nil {
		return group.Missing(err)
	}
	defer diag.Close()
	if members, err := look(ctx, diag, sock); err != nil || len(members.All) == 1 {
		return err
	}
	claimed, err := sock.TryClaim(ctx, diag)
	if err != nil {
		return err
	}
	if !claimed {
		return errDraining
	}
	defer sock.Release()
	return sock.Detach()
}
