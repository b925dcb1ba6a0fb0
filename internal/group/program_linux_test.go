package group

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// The kernel chooses as the interpreter does.
func TestProgramKernel(t *testing.T) {
	testnet.Namespace(t)
	members := group(t, 5, "udp", "[::]:9999")
	for name, program := range map[string][]Instruction{
		"all": Among(sequence(5, 1)), "not 3": Among([]int{0, 1, 2, 4}), "not 0 and 4": Among([]int{1, 2, 3}),
		"share": Share(4, 300, sequence(4, 1)), "translated": Translate(Share(2, 500, []int{0, 1, 3, 4}), []int{3, 4, 0, 1, 2}),
	} {
		if err := members[0].Attach(program); err != nil {
			t.Fatal(err)
		}
		for range rounds(1000) {
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
				want, err := run(program, packet, 0)
				if err != nil {
					t.Fatal(err)
				}
				conn.Write(nil)
				conn.Close()
				arrived(members)
				for i, m := range members {
					readable, err := m.Readable()
					if err != nil || readable != (i == int(want)) {
						t.Fatalf("%s, %s port %d: slot %d readable %v, want %d", name, client, port, i, readable, want)
					}
					if readable {
						m.ReadFrom(nil)
					}
				}
			}
		}
	}
	for range 2 {
		if err := members[1].Detach(); err != nil {
			t.Error(err)
		}
	}
}

// The kernel takes programs of any set of slots. The control is one instruction
// longer than it can be.
func TestProgramLength(t *testing.T) {
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		members := group(t, 3, network, "127.0.0.1:9999")
		for n := 1; n <= len(scattered); n += 714 {
			for name, program := range map[string][]Instruction{
				"among": Among(scattered[len(scattered)-n:]), "share": Share(1, 300, scattered[:n]),
			} {
				if err := members[1].Attach(program); err != nil {
					t.Errorf("%s, %s %d slots, %d instructions: %v", network, name, n, len(program), err)
				}
			}
		}
		long := slices.Repeat([]Instruction{{Op: opReturn}}, MaxInstructions+1)
		if err := members[1].Attach(long); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%d instructions: %v, want EINVAL", len(long), err)
		}
		// Nothing of them is left.
		chosen(t, members[2], members, Among([]int{2}))
		if err := members[0].Detach(); err != nil {
			t.Error(err)
		}
		closeAll(members)
	}
}

// A datagram goes to the slot of the CPU that it was sent on. The control is the
// hash.
func TestByCPUKernel(t *testing.T) {
	testnet.Namespace(t) // the thread stays this goroutine's
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for n := 2; n <= 3; n++ {
		members := group(t, n, "udp4", "127.0.0.1:9999")
		misplaced := func(program []Instruction) (wrong int) {
			for cpu := range runtime.NumCPU() {
				if !all.IsSet(cpu) {
					continue
				}
				var one unix.CPUSet
				one.Set(cpu)
				if err := unix.SchedSetaffinity(0, &one); err != nil {
					t.Fatal(err)
				}
				for range rounds(500) {
					got, err := lands(members[0], members, program)
					if err != nil {
						t.Fatal(err)
					}
					if got != members[cpu%n] {
						wrong++
					}
				}
			}
			return wrong
		}
		if wrong := misplaced(ByCPU(n)); wrong > 0 {
			t.Errorf("%d members: %d datagrams are at the slot of another CPU", n, wrong)
		}
		if misplaced(Among([]int{n})) == 0 { // out of range
			t.Errorf("%d members: the hash goes by the CPU, too", n)
		}
		closeAll(members)
	}
}

// An index that is out of range leaves the choice to the hash, which spreads.
func TestOutOfRange(t *testing.T) {
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4", "tcp6", "udp6"} {
		address := "127.0.0.1:9999"
		if network[3] == '6' {
			address = "[::1]:9999"
		}
		members := group(t, 2, network, address)
		got := map[*member]int{}
		for range 64 {
			m, err := lands(members[0], members, Among([]int{2}))
			if err != nil {
				t.Fatal(network, err)
			}
			got[m]++
		}
		if len(got) != 2 {
			t.Errorf("%s: only one member of two is chosen", network)
		}
		chosen(t, members[1], members, Among([]int{1})) // the control
		closeAll(members)
	}
}

// A sandbox that knows no detaching gets a program that chooses nobody.
func TestDetachRefused(t *testing.T) {
	testnet.NeedArguments(t)
	done := make(chan error)
	testnet.Namespace(t)
	members := group(t, 2, "udp4", "127.0.0.1:9999")
	if err := members[0].Attach(Among([]int{0})); err != nil {
		t.Fatal(err)
	}
	go func() {
		runtime.LockOSThread() // and never unlocked: the filter is its alone
		if err := refuse(unix.SO_DETACH_REUSEPORT_BPF, unix.EPERM); err != nil {
			done <- fmt.Errorf("seccomp: %w", err)
			return
		}
		err := members[0].Detach()
		if unix.SetsockoptInt(0, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) != unix.EPERM {
			err = errors.Join(err, errors.New("the control: nothing is refused"))
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := map[*member]bool{}
	for range 64 {
		conn, err := members[0].dial()
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("x"))
		conn.Close()
		arrived(members)
		for _, m := range members {
			if n, _ := m.take(); n > 0 {
				got[m] = true
			}
		}
	}
	if len(got) != 2 {
		t.Error("one member gets everything")
	}
}
