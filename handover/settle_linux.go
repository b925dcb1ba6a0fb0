package handover

import (
	"context"
	"fmt"
	"time"

	"example.com/reuse/internal/group"
	"golang.org/x/sys/unix"
)

// settle returns when nothing is left in the sockets, or reports that a group has
// changed.
func (s *set) settle(ctx context.Context) (changed bool, err error) {
	now := context.WithoutCancel(ctx)
	var tcp []*group.Socket
	members := map[uint64]bool{}
	for _, p := range s.parts {
		for _, m := range p.own {
			if m.Protocol == unix.IPPROTO_TCP {
				tcp = append(tcp, m.Socket)
			}
		}
		for _, cookie := range p.group.All {
			members[cookie] = true
		}
	}
	handshakes, err := group.LookHandshakes(now, s.diag, tcp, func(cookie uint64) bool { return members[cookie] })
	if err != nil {
		return false, err
	}
	begin := time.Now()
	changed, err = s.wait(ctx, func() (left string, err error) {
		// Not by their number of retransmissions can dead clients be told from live
		// ones: the kernel counts its answers to a client's SYN that comes again,
		// too.
		if handshakes, err = handshakes.Pending(now, s.diag); err != nil || len(handshakes) == 0 {
			return "", err
		}
		answers := uint8(0)
		for _, h := range handshakes {
			answers = max(answers, h.Retransmits)
		}
		left = fmt.Sprintf("%d handshakes under way for %v or longer, one of them answered %d times",
			len(handshakes), time.Since(begin).Round(time.Millisecond), 1+int(answers))
		if queue, _ := s.queue(); queue != "" {
			left += ", " + queue
		}
		return left, nil
	})
	if err != nil || changed {
		return changed, err
	}
	// A connection leaves the handshakes before it is in the queue
	// (tcp_v4_syn_recv_sock, inet_csk_complete_hashdance).
	if err := group.Grace(now); err != nil {
		return false, err
	}
	return s.wait(ctx, s.queue)
}

// queue says what waits in the sockets.
func (s *set) queue() (left string, err error) {
	connections, readable := 0, 0
	for _, m := range s.members {
		if m.Protocol == unix.IPPROTO_TCP {
			n, err := m.Queue()
			if err != nil {
				return "", err
			}
			connections += n
			continue
		}
		has, err := m.Readable()
		if err != nil {
			return "", err
		}
		if has {
			readable++
		}
	}
	if connections > 0 {
		left = fmt.Sprintf("%d connections not accepted", connections)
	}
	if readable > 0 {
		left += fmt.Sprintf("%.*s%d sockets with unread datagrams", 2*len(left), ", ", readable)
	}
	return left, nil
}

// wait returns when nothing is left, or the groups change. Nothing tells either, so
// it looks, and spends a tenth of its time on that at most.
func (s *set) wait(ctx context.Context, left func() (string, error)) (changed bool, err error) {
	for delay := 250 * time.Microsecond; ; delay = min(2*delay, 5*time.Millisecond) {
		begin := time.Now()
		changed, err := s.changed(context.WithoutCancel(ctx))
		if err != nil || changed {
			return changed, err
		}
		what, err := left()
		if err != nil || what == "" {
			return false, err
		}
		if err := group.Sleep(ctx, max(delay, 10*time.Since(begin))); err != nil {
			return false, fmt.Errorf("%s: %w", what, err)
		}
	}
}
