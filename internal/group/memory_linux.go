package group

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"example.com/reuse/internal/sockdiag"
	"golang.org/x/sys/unix"
)

// A memory is what a process learnt of the hash while it could open twins: clients,
// and which of so many equal parts of the hash's range theirs is in. In a group of n
// a part lies in one slot, but where it lies in two.
type memory struct {
	way
	clients []client
}

type client struct {
	port uint16
	part int
}

// parts is how many a memory tells apart. They tell the slots of some 15 members.
const parts = 32

// Remember learns what Slots needs when the process cannot open sockets like this
// one any more: as an ordinary user, on a port below net.ipv4.ip_unprivileged_port_start
// or of a socket that root opened.
func (s *Socket) Remember(ctx context.Context, diag *sockdiag.Conn) error {
	var err error
	for _, w := range s.ways() {
		var m *memory
		if m, err = w.remember(ctx, diag); err == nil {
			s.memory = m
			return nil
		}
	}
	return err
}

func (w *way) remember(ctx context.Context, diag *sockdiag.Conn) (*memory, error) {
	m := &memory{way: *w}
	var twins []uint64
	for range parts {
		fd, cookie, err := w.open()
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		twins = append(twins, cookie)
	}
	const often = 4 // for each part
	var times [parts]int
	missing := parts
	for range 100 * parts {
		port := uint16(1 + rand.IntN(math.MaxUint16))
		twin, err := w.ask(ctx, diag, w.twin, w.ghost, port)
		if err != nil {
			return nil, err
		}
		part := slices.Index(twins, twin)
		if part < 0 {
			return nil, errInconsistent
		}
		if times[part]++; times[part] > often {
			continue
		}
		m.clients = append(m.clients, client{port, part})
		if times[part] == often {
			if missing--; missing == 0 {
				return m, nil
			}
		}
	}
	return nil, errInconsistent
}

// slots is that of a way.
func (m *memory) slots(ctx context.Context, diag *sockdiag.Conn, members Members) ([]uint64, error) {
	return members.bySlot(func(n int) ([]uint64, error) {
		next := 0
		return compare(n, members.often(n), len(m.clients), func() (slot int, port uint16, err error) {
			client := m.clients[next]
			next++
			slot = client.part * n / parts
			if slot != ((client.part+1)*n-1)/parts {
				slot = -1
			}
			return slot, client.port, nil
		}, func(port uint16) (uint64, error) { return m.ask(ctx, diag, m.local, m.device, port) })
	})
}
