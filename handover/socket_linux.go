package handover

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/group"
	"example.com/reuse/internal/keepalive"
	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A socket is what is known of a listener or PacketConn.
type socket struct {
	*state
}

type state struct {
	self *group.Socket
	err  error // why it cannot be drained

	mu   sync.Mutex // of slot
	slot group.Slot

	draining chan struct{}  // holds a value while drain or leave runs
	claimed  bool           // the group's program is ours
	steering *group.Members // what it was made for; nil if there is none
	refusing bool           // SYNs, since the slot is unknown
	deferred int            // TCP_DEFER_ACCEPT, to be restored
	together *together      // those it was drained with

	stop  chan struct{} // ends the watch
	watch sync.WaitGroup
	once  sync.Once
}

func listen(network, address string) (*net.TCPListener, socket, error) {
	var before snapshot
	config := reuse.Port.ListenConfig()
	config.Control = reuse.Port.With(before.control)
	ln, err := keepalive.Listen(context.Background(), *config, network, address)
	if err != nil {
		return nil, socket{}, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		ln.Close()
		return nil, socket{}, &net.OpError{Op: "listen", Net: network, Addr: ln.Addr(), Err: net.UnknownNetworkError(network)}
	}
	return tcp, socket{born(tcp, &before)}, nil
}

func listenPacket(network, address string) (*net.UDPConn, socket, error) {
	var before snapshot
	config := reuse.Port.ListenConfig()
	config.Control = reuse.Port.With(before.control)
	var pc net.PacketConn
	var err error
	if _, port, split := net.SplitHostPort(address); split == nil && strings.Trim(port, "+-0") == "" {
		// A port of its own, which a hook cannot have.
		before.known = true
		pc, err = reuse.Port.ListenPacket(network, address)
	} else {
		pc, err = config.ListenPacket(context.Background(), network, address)
	}
	if err != nil {
		return nil, socket{}, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, socket{}, &net.OpError{Op: "listen", Net: network, Addr: pc.LocalAddr(), Err: net.UnknownNetworkError(network)}
	}
	return udp, socket{born(udp, &before)}, nil
}

func adopt(ln *net.TCPListener) (socket, error) {
	s := born(ln, &snapshot{})
	if s.self == nil {
		return socket{}, s.err
	}
	return socket{s}, nil
}

// A snapshot is who had the port before a socket was bound to it.
type snapshot struct {
	members []sockdiag.Member
	known   bool
}

// control is a hook that takes the snapshot.
func (s *snapshot) control(network, address string, c syscall.RawConn) error {
	*s = snapshot{} // net may call twice
	addr, err := netip.ParseAddrPort(address)
	if err != nil || addr.Port() == 0 {
		return nil
	}
	diag, err := sockdiag.Open()
	if err != nil {
		return nil // Drain reports it
	}
	defer diag.Close()
	s.members, err = group.Before(context.Background(), diag, c, addr.Port())
	s.known = err == nil
	return nil
}

// born returns the state of a new socket. The error is in it.
func born(conn syscall.Conn, before *snapshot) *state {
	s := &state{draining: make(chan struct{}, 1), stop: make(chan struct{})}
	c, err := conn.SyscallConn()
	if err == nil {
		s.self, err = group.Open(c)
	}
	if err == nil {
		err = s.join(before)
	}
	s.err = err
	if err == nil && !s.slot.Alone() && !s.self.CanProbe() {
		s.watch.Go(s.follow)
	}
	return s
}

// lacks returns why the socket cannot be drained. If that was for want of a
// descriptor, it looks again. The caller has the right to drain.
func (s *state) lacks() error {
	if scarce(s.err) && s.self != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = s.join(&snapshot{})
	}
	return s.err
}

// scarce reports whether err is one that passes.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// join finds out the socket's slot, if it can, and takes away what program an
// earlier member left.
func (s *state) join(before *snapshot) error {
	ctx := context.Background()
	diag, err := sockdiag.Open()
	if err != nil {
		return group.Missing(err)
	}
	defer diag.Close()
	members, err := s.self.Members(ctx, diag)
	if err != nil {
		return group.Missing(err)
	}
	s.slot = group.Unknown(s.self.Cookie)
	if before.known {
		if was := members.Filter(before.members); members.SameBut(was, s.self.Cookie) {
			s.slot = group.Born(s.self.Cookie, was)
		}
	}
	s.slot.Observe(members.All)
	if len(members.All) == 1 {
		return nil
	}
	// The error comes again when it matters, in drain.
	if claimed, err := s.self.TryClaim(ctx, diag); err == nil && claimed {
		group.Detach(s.self)
		s.self.Release()
	}
	return nil
}

// follow observes the group until the socket has slot 0, which it keeps, or is
// closed. It looks the more seldom the longer nothing has come of it: only
// changes that are less than a twentieth of that time apart, and a second, can
// escape it.
func (s *state) follow() {
	for begin := time.Now(); ; {
		delay := min(max(time.Since(begin)/20, 2*time.Millisecond), time.Second)
		select {
		case <-s.stop:
			return
		case <-time.After(delay):
		}
		if err := s.observe(); err != nil {
			s.mu.Lock()
			s.slot.Forget()
			s.mu.Unlock()
			if !scarce(err) {
				return
			}
		}
		s.mu.Lock()
		index, known := s.slot.Index()
		s.mu.Unlock()
		if known && index == 0 {
			return
		}
	}
}

func (s *state) observe() error {
	diag, err := sockdiag.Open()
	if err != nil {
		return err
	}
	defer diag.Close()
	members, err := s.self.Members(context.Background(), diag)
	if err == nil {
		s.note(members)
	}
	return err
}

// note takes members that the kernel showed. It does not matter if others that it
// showed later were taken before: who is missing in those counts as behind the
// socket, and is missed once.
func (s *state) note(members group.Members) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slot.Observe(members.All)
}
