package group

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// slotsByOneMore is Slots for TCP over IPv6 where the kernel's hash takes the whole
// address, so that there are no twins. One more listener joins the group, and gets
// the last slot. Then a client that was found in slot i is found there still, or in
// slot i+1 (reciprocal_scale of a hash by one more): so the members show their
// order, and the last one is ours.
//
// The group has a program meanwhile that does not choose the one more. If another
// member leaves at this moment it moves into the hole, and is chosen. So it drops
// packets that come from farther than its own link, or look like that
// (IPV6_MINHOPCOUNT): the client sends its SYN again after a second, when it is gone.
func (s *Socket) slotsByOneMore(ctx context.Context, diag *sockdiag.Conn, members Members, w way) ([]uint64, error) {
	n := len(members.All)
	const most = 64 // the first one shows itself to one in n*(n+1) clients
	if n > most {
		return nil, fmt.Errorf("%w, and more than %d cannot be told apart", errInconsistent, most)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	if err := s.Attach(Among(all)); err != nil {
		return nil, err
	}
	ports := rand.Perm(math.MaxUint16)[:min(n*(n+1)*8*enough(n), math.MaxUint16)]
	before := make([]uint64, len(ports))
	for i, port := range ports {
		var err error
		if before[i], err = w.ask(ctx, diag, w.local, w.device, uint16(1+port)); err != nil {
			return nil, err
		}
	}
	v6only := 0
	if s.Key.v6only {
		v6only = 1
	}
	fd, last, err := openSocket(unix.AF_INET6, unix.SOCK_STREAM, s.Key.uid, s.Key.local, []option{
		{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only, "IPV6_V6ONLY"},
		{unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, 255, "IPV6_MINHOPCOUNT"},
		{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, int(s.Key.device), "SO_BINDTOIFINDEX"},
	}, nil)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	next := map[uint64]uint64{}
	for i, port := range ports {
		now, err := w.ask(ctx, diag, w.local, w.device, uint16(1+port))
		if err != nil {
			return nil, err
		}
		if was := before[i]; now != was {
			if other, known := next[was]; known && other != now {
				return nil, errInconsistent
			}
			next[was] = now
		}
	}
	// From the last one to the first.
	slots := make([]uint64, n)
	previous := map[uint64]uint64{}
	for c, after := range next {
		previous[after] = c
	}
	c := last
	for i := n - 1; i >= 0; i-- {
		var known bool
		if c, known = previous[c]; !known {
			return nil, errInconsistent
		}
		slots[i] = c
	}
	return members.owners(slots)
}
