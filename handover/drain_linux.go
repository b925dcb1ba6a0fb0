package handover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/reuse/internal/group"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// errChanged says that the group has other members than those that connections
// were steered to.
var errChanged = errors.New("the group changed")

func (s *state) drain(ctx context.Context) error { return s.drainThen(ctx, func() {}) }

// drainThen calls steered when new connections go to others.
func (s *state) drainThen(ctx context.Context, steered func()) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.done()
	diag, err := sockdiag.Open()
	if err != nil {
		return group.Missing(err)
	}
	defer diag.Close()
	d := &drainer{state: s, diag: diag, steered: steered}
	err = d.run(ctx)
	if err != nil && !d.keeps(ctx, err) {
		d.takeBack()
	}
	return err
}

// begin waits for the right to drain, which lasts until done.
func (s *state) begin(ctx context.Context) error {
	select {
	case s.draining <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := s.lacks()
	if err != nil {
		s.done()
	}
	return err
}

func (s *state) done() { <-s.draining }

// keeps reports whether the socket stays without new connections after err: when
// ctx has ended, as long as the others are there, to which the kernel looks. A
// filter of SYNs does not look.
func (s *state) keeps(ctx context.Context, err error) bool {
	return s.steering != nil && !s.refusing && ctx.Err() != nil && !errors.Is(err, ErrNoSuccessor)
}

type drainer struct {
	*state
	diag    *sockdiag.Conn
	steered func()
}

// run repeats steer and settle until nothing changes meanwhile.
func (d *drainer) run(ctx context.Context) error {
	if _, err := d.others(ctx); err != nil {
		return err
	}
	if !d.claimed {
		if err := d.self.Claim(ctx, d.diag); err != nil {
			return err
		}
		d.claimed = true
	}
	for {
		members, err := d.others(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		if err = d.steer(ctx, members); err == nil {
			d.steered()
			err = d.settle(ctx, members)
		}
		if err != errChanged {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("%w: %w", errChanged, err)
		}
	}
}

// others returns the members of the group, of which the socket is not the only
// one.
func (d *drainer) others(ctx context.Context) (group.Members, error) {
	members, err := d.self.Members(ctx, d.diag)
	if err != nil {
		return group.Members{}, group.Missing(err)
	}
	d.note(members)
	if len(members.All) == 1 {
		return group.Members{}, ErrNoSuccessor
	}
	return members, nil
}

// unchanged returns errChanged if the group is not the one of members any more.
func (d *drainer) unchanged(ctx context.Context, members group.Members) error {
	now, err := d.others(ctx)
	if err == nil && !now.Same(members.All) {
		err = errChanged
	}
	return err
}

// steer makes connections go to the other members.
func (d *drainer) steer(ctx context.Context, members group.Members) error {
	if err := d.deferNothing(); err != nil {
		return err
	}
	slots, err := locate(ctx, []*drainer{d}, members)
	switch {
	case err == nil:
		err = group.Attach(d.self, group.Steering{N: len(members.All), Not: slots}.Program())
	case errors.Is(err, ErrUnknownSlot) && d.self.Protocol == unix.IPPROTO_TCP && !d.refusing:
		if refused := d.self.Refuse(); refused != nil {
			err = fmt.Errorf("%w; a filter of SYNs: %w", err, refused)
		} else {
			d.refusing = true
			err = group.Detach(d.self) // what is left of the probes
		}
	case d.refusing && errors.Is(err, ErrUnknownSlot):
		err = nil
	}
	if err != nil {
		return err
	}
	d.steering = &members
	return group.Grace(context.WithoutCancel(ctx))
}

// deferNothing lets connections into the queue that wait for data. They are in no
// queue, and have the client's acknowledgment already. Without the option the
// kernel sends its answer again, and the next acknowledgment completes the
// handshake (tcp_check_req, reqsk_timer_handler). With it the listener drops an
// acknowledgment of every connection, and probes are told by drops.
func (d *drainer) deferNothing() error {
	if d.self.Protocol != unix.IPPROTO_TCP {
		return nil
	}
	was, err := d.self.DeferAccept(0)
	if err == nil {
		d.deferred = max(d.deferred, was)
	}
	return err
}

// locate returns the slots of ds among members. It learns them by probes, which
// also prove that the kernel runs programs, unless it did so before and has
// followed the slots since. Where no probe arrives, they have to be known from the
// sockets' births.
func locate(ctx context.Context, ds []*drainer, members group.Members) ([]int, error) {
	slots := make([]int, len(ds))
	socks := make([]*group.Socket, len(ds))
	known, followed := true, true
	for i, d := range ds {
		d.mu.Lock()
		slot, ok := d.slot.Index()
		d.mu.Unlock()
		slots[i], socks[i] = slot, d.self
		known, followed = known && ok, followed && ok && d.steering != nil
	}
	if followed {
		return slots, nil
	}
	probed, err := group.Locate(ctx, socks, members.Self, len(members.All))
	switch {
	case err == nil:
		// Did somebody leave meanwhile, the probes were of two groups.
		if err := ds[0].unchanged(ctx, members); err != nil {
			return nil, err
		}
		for i, d := range ds {
			d.mu.Lock()
			d.slot.Set(probed[i], members.All)
			d.mu.Unlock()
		}
		return probed, nil
	case ctx.Err() != nil || !errors.Is(err, group.ErrNoProbe):
		return nil, err
	case !known:
		return nil, fmt.Errorf("%w (%w); stop the other members but one, or restart one after the other", ErrUnknownSlot, err)
	}
	for _, s := range socks {
		if s.Protocol != unix.IPPROTO_TCP {
			break
		}
		if _, backlog, err := s.Queue(); err != nil || backlog == 0 {
			return nil, fmt.Errorf("the kernel does not show the listener's backlog (%v): %w", err, errors.ErrUnsupported)
		}
	}
	return slots, group.Attaches(socks[0])
}

// takeBack lets the socket have its share again.
func (d *drainer) takeBack() {
	if d.deferred > 0 {
		d.self.DeferAccept(d.deferred)
		d.deferred = 0
	}
	if d.refusing {
		d.self.Admit()
		d.refusing = false
	}
	if d.claimed {
		group.Detach(d.self)
		d.self.Release()
		d.claimed, d.steering = false, nil
	}
}

// settle returns nil when nothing is left in the socket. Only what waits for others
// looks at the end of ctx, so that its error tells what was left.
func (d *drainer) settle(ctx context.Context, members group.Members) error {
	unchanged := func(ctx context.Context) error { return d.unchanged(ctx, members) }
	if d.self.Protocol == unix.IPPROTO_UDP {
		return settled(ctx, "sockets with unread datagrams", unchanged, func(context.Context) (int, error) {
			readable, err := d.self.Readable()
			if readable {
				return 1, err
			}
			return 0, err
		})
	}
	handshakes, err := d.self.Handshakes(context.WithoutCancel(ctx), d.diag, members.Self)
	if err != nil {
		return group.Missing(err)
	}
	// Not by their number of retransmissions can dead clients be told from live
	// ones: the kernel counts its answers to a client's SYN that comes again,
	// too.
	err = settled(ctx, "handshakes under way", unchanged, func(ctx context.Context) (int, error) {
		pending := handshakes[:0]
		for _, h := range handshakes {
			yes, err := d.diag.Pending(ctx, h)
			if err != nil {
				return 0, err
			}
			if yes {
				pending = append(pending, h)
			}
		}
		handshakes = pending
		return len(pending), nil
	})
	queue := func(context.Context) (int, error) {
		length, _, err := d.self.Queue()
		return int(length), err
	}
	if err != nil {
		if length, _ := queue(ctx); length > 0 && ctx.Err() != nil {
			err = fmt.Errorf("%d connections not accepted, %w", length, err)
		}
		return err
	}
	// A connection leaves the handshakes before it is in the queue
	// (tcp_v4_syn_recv_sock, inet_csk_complete_hashdance).
	if err := group.Grace(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return settled(ctx, "connections not accepted", unchanged, queue)
}

// settled returns nil when left returns 0 and changed nil.
func settled(ctx context.Context, what string, changed func(context.Context) error, left func(context.Context) (int, error)) error {
	for delay := 250 * time.Microsecond; ; delay = min(2*delay, 5*time.Millisecond) {
		// These answer at once, also if ctx has ended.
		if err := changed(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		n, err := left(context.WithoutCancel(ctx))
		if err != nil || n == 0 {
			return err
		}
		if err := group.Sleep(ctx, delay); err != nil {
			return fmt.Errorf("%d %s: %w", n, what, err)
		}
	}
}

// leave comes before the socket is closed. Errors do not matter: they leave the
// program as it was, or the moment that Hide takes away.
//
// By the program that is left one member gets everything until the socket is out of
// its group. So it comes last.
func (s *state) leave() {
	s.once.Do(func() { close(s.stop) })
	s.watch.Wait()
	select {
	case s.draining <- struct{}{}:
		defer s.done()
	default:
		return // Drain runs, and fails
	}
	if s.steering == nil {
		return
	}
	last := s.together == nil || s.together.leaveProgram(s)
	hidden := s.self.Hide() == nil
	if hidden {
		group.Grace(context.Background())
	}
	if last {
		s.leaveProgram()
	}
	if !hidden && s.self.Protocol == unix.IPPROTO_UDP && s.self.Leave() == nil {
		group.Grace(context.Background())
	}
}

// leaveProgram replaces the program of a drained socket by one that chooses the
// last member. When the socket is gone, that is one more than there are, and the
// kernel goes by its hash as if there were no program, until somebody joins. The
// last one itself can only leave a program that chooses among the others.
func (s *state) leaveProgram() {
	diag, err := sockdiag.Open()
	if err != nil {
		return
	}
	defer diag.Close()
	members, err := s.self.Members(context.Background(), diag)
	if err != nil {
		return
	}
	s.note(members)
	slot, known := s.slot.Index()
	if !known {
		return
	}
	n := len(members.All)
	program := group.Only(n - 1)
	if slot == n-1 {
		program = group.Steering{N: n, Not: []int{slot}}.Program()
	}
	group.Attach(s.self, program)
}
