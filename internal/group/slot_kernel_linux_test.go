package group

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
)

// Thousands of random joins and leaves: the model's slot is the one that the
// kernel sends connections and datagrams to.
func TestSlotKernel(t *testing.T) {
	steps := testnet.Times(3000)
	for _, network := range []string{"tcp4", "udp4"} {
		t.Run(network, func(t *testing.T) {
			testnet.Namespace(t)
			diag := diagConn(t)
			const address = "127.0.0.1:9999"
			random := rand.New(rand.NewPCG(3, 4))
			var members []*member
			slots := map[uint64]*Slot{}
			verified, unknown := 0, 0
			for step := range steps {
				if len(members) < 2 || len(members) < 6 && random.IntN(2) == 0 {
					before := cookies(members)
					m := open(t, network, address)
					members = append(members, m)
					slot := Born(m.Cookie, before)
					slots[m.Cookie] = &slot
				} else {
					i := random.IntN(len(members))
					members[i].close()
					delete(slots, members[i].Cookie)
					members = slices.Delete(members, i, i+1)
				}
				if random.IntN(4) == 0 {
					continue // not observed
				}
				for _, m := range members {
					seen, err := m.Members(t.Context(), diag)
					if err != nil || len(seen.All) != len(members) {
						t.Fatalf("step %d: %d members, %v, want %d", step, len(seen.All), err, len(members))
					}
					slots[m.Cookie].Observe(seen.All)
				}
				m := members[random.IntN(len(members))]
				index, known := slots[m.Cookie].Index()
				if !known {
					unknown++
					continue
				}
				verified++
				if err := receives(m, members, Only(index), true); err != nil {
					t.Fatalf("step %d, slot %d of %d: %v", step, index, len(members), err)
				}
				if len(members) > 1 {
					not := Steering{N: len(members), Not: []int{index}}.Program()
					if err := receives(m, members, not, false); err != nil {
						t.Fatalf("step %d, not slot %d of %d: %v", step, index, len(members), err)
					}
				}
			}
			t.Logf("%d slots verified, %d unknown", verified, unknown)
			if verified < steps/10 {
				t.Error("too few")
			}
		})
	}
}

func cookies(members []*member) []uint64 {
	var all []uint64
	for _, m := range members {
		all = append(all, m.Cookie)
	}
	return all
}

// arrived returns when one of the members is readable, or after a time in which one
// should be: a busy kernel delivers what was sent to itself a moment later
// (ksoftirqd).
func arrived(members []*member) {
	for deadline := time.Now().Add(testnet.Slow(time.Second)); time.Now().Before(deadline); {
		for _, m := range members {
			if readable, err := m.Readable(); readable || err != nil {
				return
			}
		}
	}
}

// receives returns an error unless m gets what the program steers, or somebody
// else does.
func receives(m *member, members []*member, program []Instruction, want bool) error {
	if err := Attach(m, program); err != nil {
		return err
	}
	defer Detach(m)
	conn, err := m.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	arrived(members)
	got := false
	total := 0
	for _, other := range members {
		n := 0
		if other.Listener != nil {
			length, _, err := other.Queue()
			if err != nil {
				return err
			}
			for range length {
				c, err := other.Listener.Accept()
				if err != nil {
					return err
				}
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
				n++
			}
		} else if readable, err := other.Readable(); err != nil {
			return err
		} else if readable {
			other.ReadFrom(make([]byte, 9))
			n++
		}
		total += n
		if other == m {
			got = n > 0
		}
	}
	if total != 1 || got != want {
		return fmt.Errorf("it got one: %v, of %d", got, total)
	}
	return nil
}

// The kernel chooses as the interpreter does.
func TestProgramKernel(t *testing.T) {
	testnet.Namespace(t)
	const n = 5
	var members []*member
	for range n {
		members = append(members, open(t, "udp", "[::]:9999"))
	}
	for _, s := range []Steering{{N: n}, {N: n, Not: []int{3}}, {N: n, Not: []int{0, 4}}} {
		program := s.Program()
		if err := Attach(members[0], program); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			for _, client := range []string{"127.0.0.1", "::1"} {
				conn, err := net.Dial("udp", net.JoinHostPort(client, "9999"))
				if err != nil {
					t.Fatal(err)
				}
				port := uint16(conn.LocalAddr().(*net.UDPAddr).Port)
				packet := packet4([4]byte{127, 0, 0, 1}, port)
				if client == "::1" {
					packet = packet6([16]byte{15: 1}, port)
				}
				want, err := run(program, packet)
				if err != nil {
					t.Fatal(err)
				}
				conn.Write(nil)
				conn.Close()
				arrived(members)
				for i, m := range members {
					readable, err := m.Readable()
					if err != nil || readable != (i == int(want)) {
						t.Fatalf("%+v, %s port %d: slot %d readable %v, want %d", s, client, port, i, readable, want)
					}
					if readable {
						m.ReadFrom(nil)
					}
				}
			}
		}
	}
	if err := Detach(members[1]); err != nil {
		t.Error(err)
	}
	if err := Detach(members[1]); err != nil {
		t.Error("again:", err)
	}
}
