package bench_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/shard"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The kernel gives each datagram to the socket that the virtual machine of
// golang.org/x/net/bpf chooses by the same program, also where the kernel knows
// the sockets by other numbers. Without the program it does not.
func TestSteerVM(t *testing.T) {
	testnet.Namespace(t)
	const n = 5
	// As QUIC's connection id: a field of the payload, at a place that depends on
	// the first byte.
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 8, SkipTrue: 8},
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x80, SkipFalse: 2},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.Jump{Skip: 1},
		bpf.LoadAbsolute{Off: 1, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: n},
		bpf.RetA{},
		bpf.RetConstant{Val: 2},
		bpf.RetConstant{Val: 1}, // what is short
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, moved := range []bool{false, true} {
		socks := openShard(t, n, moved)
		if err := shard.Steer(socks, raw); err != nil {
			t.Fatal(err)
		}
		if differ := differences(t, vm, socks); differ != 0 {
			t.Errorf("moved %v: the virtual machine and the kernel differ in %d of %d datagrams", moved, differ, vmDatagrams)
		}
		if err := shard.ByHash(socks); err != nil {
			t.Fatal(err)
		}
		if differ := differences(t, vm, socks); differ == 0 {
			t.Errorf("moved %v: the control, without the program, does not differ", moved)
		}
		for _, s := range socks {
			s.Close()
		}
	}
}

// openShard opens a shard. If it is moved, the kernel's order of it is not ours.
func openShard(t testing.TB, n int, moved bool) []*net.UDPConn {
	t.Helper()
	if moved {
		first, err := reuse.Port.ListenPacket("udp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
	}
	socks, err := shard.ListenPacket("udp4", address, n)
	if err != nil {
		t.Fatal(err)
	}
	return socks
}

const vmDatagrams = 2000

// differences sends datagrams, and returns how many did not come to the socket
// that vm chooses.
func differences(t testing.TB, vm *bpf.VM, socks []*net.UDPConn) (differ int) {
	t.Helper()
	client, err := net.Dial("udp4", socks[0].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range vmDatagrams {
		payload := make([]byte, 1+rand.IntN(64))
		for i := range payload {
			payload[i] = byte(rand.IntN(256))
		}
		// Its LoadExtension returns the length of the packet, as the kernel's.
		slot, err := vm.Run(payload)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(payload); err != nil {
			t.Fatal(err)
		}
		if receiveOne(t, socks) != slot {
			differ++
		}
	}
	return differ
}

// receiveOne reads a datagram, and returns which socket had it.
func receiveOne(t testing.TB, socks []*net.UDPConn) int {
	t.Helper()
	buf := make([]byte, 2048)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		for i, s := range socks {
			if n := receiveAll(t, s, buf, 1); n == 1 {
				return i
			}
		}
	}
	t.Fatal("a datagram did not come")
	return 0
}

// receiveAll reads what is there, at most so many datagrams.
func receiveAll(t testing.TB, s *net.UDPConn, buf []byte, most int) (n int) {
	t.Helper()
	c, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Control(func(fd uintptr) {
		for n < most {
			if _, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT); err != nil {
				return
			}
			n++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkSteer takes the CPU time that a datagram to a shard of two costs from
// its sender to its socket, with a program in turn with the kernel's hash, and
// reports the quotients. A long program is the control.
func BenchmarkSteer(b *testing.B) {
	long := make([]bpf.RawInstruction, 4000)
	for i := range long {
		long[i].Op = 0x04 // add #0
	}
	long[len(long)-1].Op = 0x06 // ret #0
	for _, program := range []struct {
		name  string
		steer func(socks []*net.UDPConn) error
	}{
		{"hash", func([]*net.UDPConn) error { return nil }},
		{"ByCPU", shard.ByCPU[*net.UDPConn]},
		{"4000-instructions", func(socks []*net.UDPConn) error { return shard.Steer(socks, long) }},
	} {
		b.Run(program.name, func(b *testing.B) {
			testnet.Namespace(b)
			stay(b)
			by := openAt(b, emptyAddress)
			steered := openAt(b, address)
			if err := program.steer(steered); err != nil {
				b.Fatal(err)
			}
			flood(b, by)
			flood(b, steered)
			var own, shares []float64
			for b.Loop() {
				var with, without float64
				if len(own)%2 == 0 {
					without, with = flood(b, by), flood(b, steered)
				} else {
					with, without = flood(b, steered), flood(b, by)
				}
				own, shares = append(own, with), append(shares, with/without)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(quantile(own, 0.5), "cpu-ns/datagram")
			b.ReportMetric(quantile(shares, 0.25), "q1-times-hash")
			b.ReportMetric(quantile(shares, 0.5), "times-hash")
			b.ReportMetric(quantile(shares, 0.75), "q3-times-hash")
		})
	}
}

// stay keeps this thread on its CPU.
func stay(b *testing.B) {
	b.Helper()
	var set unix.CPUSet
	cpu := 0
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		b.Fatal(os.NewSyscallError("sched_getaffinity", err))
	}
	for !all.IsSet(cpu) {
		cpu++
	}
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		b.Fatal(os.NewSyscallError("sched_setaffinity", err))
	}
}

func openAt(b *testing.B, address string) []*net.UDPConn {
	b.Helper()
	socks, err := shard.ListenPacket("udp4", address, 2)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, s := range socks {
			s.Close()
		}
	})
	return socks
}

// flood sends datagrams, reads them, and returns the nanoseconds of CPU that each
// has cost.
func flood(b *testing.B, socks []*net.UDPConn) float64 {
	b.Helper()
	const rounds, batch = 10, 200
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(os.NewSyscallError("socket", err))
	}
	defer unix.Close(client)
	to := &unix.SockaddrInet4{Port: socks[0].LocalAddr().(*net.UDPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Connect(client, to); err != nil {
		b.Fatal(os.NewSyscallError("connect", err))
	}
	payload, buf := make([]byte, 64), make([]byte, 2048)
	var took time.Duration
	for range rounds {
		begin := threadTime(b)
		for range batch {
			if _, err := unix.Write(client, payload); err != nil {
				b.Fatal(os.NewSyscallError("write", err))
			}
		}
		received := 0
		for _, s := range socks {
			received += receiveAll(b, s, buf, batch)
		}
		took += threadTime(b) - begin
		if received != batch {
			b.Fatal(fmt.Errorf("%d of %d datagrams came", received, batch))
		}
	}
	return float64(took.Nanoseconds()) / (rounds * batch)
}
