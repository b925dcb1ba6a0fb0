package group

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/reuse/internal/testnet"
)

// What still comes to a UDP socket that is hidden, or leaves, while datagrams flood
// its port, counted over b.N closes. The oldest socket of IPv6 and the newest of
// IPv4 stand first. The control is steered to.
func BenchmarkStray(b *testing.B) {
	hide := func(m *member) error { return m.Hide() }
	leave := func(m *member) error { return m.Leave() }
	for _, test := range []struct {
		name, address string
		newest        bool
		slot          int // what the program chooses: the socket is 0 if it is the oldest
		close         func(*member) error
	}{
		{"IPv6/hidden", "[::1]:9999", false, 1, hide},
		{"IPv6/left", "[::1]:9999", false, 1, leave},
		{"IPv4/left", "127.0.0.1:9999", true, 0, leave},
		{"control", "127.0.0.1:9999", false, 0, func(*member) error { return nil }},
	} {
		b.Run(test.name, func(b *testing.B) { stray(b, test.address, test.newest, test.slot, test.close) })
	}
}

func stray(b *testing.B, address string, newest bool, slot int, end func(*member) error) {
	testnet.Namespace(b)
	stays := open(b, "udp", address)
	var stop atomic.Bool
	var sent atomic.Int64
	var flood sync.WaitGroup
	for range 4 {
		conn, err := net.Dial("udp", address) // in this thread's namespace
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		flood.Go(func() {
			for !stop.Load() {
				if _, err := conn.Write([]byte("x")); err == nil {
					sent.Add(1)
				}
			}
		})
	}
	defer flood.Wait()
	defer stop.Store(true)
	strays := 0
	for b.Loop() {
		goes := open(b, "udp", address)
		if !newest {
			goes, stays = stays, goes
		}
		if err := goes.Attach(Among([]int{slot})); err != nil {
			b.Fatal(err)
		}
		Grace(b.Context())
		read(b, goes)
		if err := end(goes); err != nil {
			b.Skip(err)
		}
		Grace(b.Context())
		strays += read(b, goes)
		goes.close()
		read(b, stays)
	}
	b.ReportMetric(float64(strays), "stray")
	b.ReportMetric(float64(sent.Load())/b.Elapsed().Seconds(), "datagrams/s")
}

// read returns how many datagrams wait in the socket, and takes them away; not more
// than there is room for.
func read(b *testing.B, m *member) (total int) {
	for total < 1000 {
		n, err := m.take()
		if err != nil {
			b.Fatal(err)
		}
		if n == 0 {
			break
		}
		total++
	}
	return total
}
