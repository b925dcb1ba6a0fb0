package handover_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// Sockets of one address of which some are connected, as a server's may be that has one
// for each client: connect(2) takes a UDP socket of IPv4 out of its group but leaves
// it where a bind looks, so that the kernel can have two groups where sock_diag shows
// one. Drain says that it does not know its slot, or it keeps all datagrams away.
func TestDrainConnected(t *testing.T) {
	needDrain(t)
	outcomes := map[string]int{}
	for _, place := range []struct{ network, address string }{
		{"udp4", "127.0.0.1:0"}, {"udp4", "0.0.0.0:0"}, {"udp6", "[::1]:0"}, {"udp", ":0"},
	} {
		for range testnet.Rounds(20, 4) {
			address := place.address
			var open []*handover.PacketConn
			listen := func() *handover.PacketConn {
				pc, err := reuse.Port.ListenPacket(place.network, address)
				if err != nil {
					t.Fatal(err)
				}
				own, err := handover.NewPacket(pc.(*net.UDPConn))
				if err != nil {
					t.Fatal(err)
				}
				address = own.LocalAddr().String()
				return own
			}
			connected := 0
			for len(open) < 2 || connected == 0 || rand.IntN(3) > 0 && len(open) < 5 {
				pc := listen()
				defer pc.Close()
				if len(open) > 0 && rand.IntN(3) == 0 {
					pc, open[len(open)-1] = open[len(open)-1], pc // an earlier one
				}
				if rand.IntN(2) == 0 {
					connectAway(t, pc)
					connected++
					continue
				}
				open = append(open, pc)
			}
			i := rand.IntN(len(open))
			err := open[i].Drain(t.Context())
			outcomes[place.network+" "+outcome(err)]++
			switch {
			case err == nil:
				_, port, _ := net.SplitHostPort(address)
				host := "127.0.0.1"
				if place.network == "udp6" {
					host = "::1"
				}
				if got := datagrams(t, net.JoinHostPort(host, port), open...); got[i] > 0 {
					t.Errorf("%v, %d connected: nil, and %v datagrams arrive", place, connected, got)
				}
			case !errors.Is(err, handover.ErrUnknownSlot) && !errors.Is(err, handover.ErrNoSuccessor):
				t.Errorf("%v, %d connected: %v", place, connected, err)
			}
		}
	}
	t.Log(outcomes)
	if outcomes["udp6 drained"] == 0 || outcomes["udp4 drained"] == 0 {
		t.Errorf("control: nothing is drained: %v", outcomes)
	}
}

// connectAway connects a UDP socket to a port of the same host.
func connectAway(t testing.TB, pc *handover.PacketConn) {
	t.Helper()
	raw, err := pc.SyscallConn()
	if err == nil {
		err = setsockopt(raw, func(fd int) error {
			local, err := unix.Getsockname(fd)
			if err != nil {
				return err
			}
			if _, ok := local.(*unix.SockaddrInet4); ok {
				return unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
			}
			return unix.Connect(fd, &unix.SockaddrInet6{Port: 9, Addr: [16]byte{15: 1}})
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}
