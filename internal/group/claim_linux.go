package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A group has one program, and whoever sets it replaces another's. So those who
// want to set it exclude each other, by a mark that every process of the same
// user can set on its own sockets and see on others': the option
// IP_RECVERR_RFC4884, which has no effect without IP_RECVERR, and which nobody sets
// on a server's socket. It needs no name that another user could take, no file and
// no protocol; it is where the port is, also if containers share that; and it ends
// with the socket itself, however a process ends.
//
// Each marks its socket first and looks for other marks then: of two, at least
// one sees the other. The one who sees none may set the program until it takes
// its mark away, or leaves the group.

func (s *Socket) mark(on int) error {
	return control(s, func(fd int) error {
		return setsockopt(fd, unix.IPPROTO_IP, unix.IP_RECVERR_RFC4884, on, "IP_RECVERR_RFC4884")
	})
}

// look returns the members, after it marked s.
func (s *Socket) look(ctx context.Context, diag *sockdiag.Conn) (Members, error) {
	if err := s.mark(1); err != nil {
		return Members{}, err
	}
	dump, err := Look(ctx, diag, s)
	var members Members
	if err == nil {
		members, err = dump.Members(s)
	}
	if err == nil && !members.marked {
		err = fmt.Errorf("the kernel does not show INET_DIAG_SOCKOPT, by which members exclude each other: %w", errors.ErrUnsupported)
	}
	if err != nil {
		err = errors.Join(err, s.mark(0))
	}
	return members, err
}

// TryClaim is Claim that gives up if somebody else has a mark.
func (s *Socket) TryClaim(ctx context.Context, diag *sockdiag.Conn) (claimed bool, err error) {
	members, err := s.look(ctx, diag)
	if err != nil || len(members.Marks) == 0 {
		return err == nil, err
	}
	return false, s.mark(0)
}

// Claim returns when s may set the group's program, which nobody else does until
// Release or the end of the socket.
//
// Of those who wait, the one with the lowest cookie leaves its mark while it
// does. So one of them gets on. Nothing tells when a mark goes, so it looks.
func (s *Socket) Claim(ctx context.Context, diag *sockdiag.Conn) error {
	for delay := time.Millisecond; ; delay = min(2*delay, 20*time.Millisecond) {
		members, err := s.look(context.WithoutCancel(ctx), diag) // answers at once
		if err != nil || len(members.Marks) == 0 {
			return err
		}
		first := members.Marks[0]
		for _, m := range members.Marks {
			if m.Cookie < first.Cookie {
				first = m
			}
		}
		if first.Cookie < s.Cookie {
			if err := s.mark(0); err != nil {
				return err
			}
		}
		if err := Sleep(ctx, delay); err != nil {
			return errors.Join(fmt.Errorf("another socket of the group, of inode %d, is drained and not closed yet: %w", first.Inode, err), s.mark(0))
		}
	}
}

// Share lets s have the claim, too, that another member of the same owner has.
func (s *Socket) Share() error { return s.mark(1) }

// Release ends what Claim began.
func (s *Socket) Release() error { return s.mark(0) }

// Sleep returns after d, or with the cause of ctx's end.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
