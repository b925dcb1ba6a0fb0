package shard

import (
	"errors"
	"fmt"
	"syscall"

	"example.com/reuse/internal/group"
)

// ErrShared says that a port has a socket that is not among those given: another
// process's, or one that was left out. Which socket gets a packet could not be
// told then.
var ErrShared = errors.New("others share the port")

// ByCPU makes the kernel give a packet to the socket of the CPU that received
// it: socks[cpu % len(socks)]. So with fewer sockets than CPUs some have
// several, and with more some get nothing.
//
// Of a TCP connection it is the first packet's CPU. The CPU is the one that
// processes the packet, which the network card's queues and RPS decide; on
// loopback it is the sender's. A socket's goroutine does not run on that CPU by
// itself.
//
// Socks are all sockets of the port, of [Listen] or [ListenPacket] or with
// SO_REUSEPORT otherwise, a [*net.TCPListener] or one of package handover for
// example; [ErrShared] otherwise. Their order counts, not that in which they were
// opened.
//
// It lasts until [ByHash], another ByCPU or Steer, or the last socket is closed.
// If one of them is closed before, another one takes its place, so call it again
// then; likewise after a socket that joined has gone again. A socket that package
// handover opens on the same port undoes it, and while one is drained ByCPU
// returns an error.
func ByCPU[S syscall.Conn](socks []S) error {
	return steer(socks, group.ByCPU)
}

// Steer makes the kernel give a packet to the socket whose index in socks a
// classic BPF program returns. Where it returns something else, the kernel goes
// by its hash. The conditions are those of [ByCPU].
//
// The instructions are []bpf.RawInstruction of golang.org/x/net/bpf, which
// bpf.Assemble returns, or any struct with those fields. The packet that they
// load from begins with the payload of UDP, or behind the header of TCP, where
// it is empty: the program runs for the first packet of a connection. What comes
// before is at negative offsets: SKF_NET_OFF, -0x100000, is where the IP header
// begins. A load beyond the end returns 0, so the program should compare the
// length before.
func Steer[S syscall.Conn, I ~struct {
	Op     uint16
	Jt, Jf uint8
	K      uint32
}](socks []S, program []I) error {
	return steer(socks, func(int) []group.Instruction {
		instructions := make([]group.Instruction, len(program))
		for i, in := range program {
			instructions[i] = group.Instruction(in)
		}
		return instructions
	})
}

// ByHash takes back what ByCPU or Steer did: the kernel goes by its hash of the
// addresses and ports again. Socks are those of one port; one of them is enough.
func ByHash[S syscall.Conn](socks []S) error {
	conns, err := rawConns(socks)
	if err == nil {
		err = detach(conns[0])
	}
	if err != nil {
		return fmt.Errorf("steering of a shard: %w", err)
	}
	return nil
}

func steer[S syscall.Conn](socks []S, program func(n int) []group.Instruction) error {
	conns, err := rawConns(socks)
	if err == nil {
		err = attach(conns, program(len(conns)))
	}
	if err != nil {
		return fmt.Errorf("steering of a shard: %w", err)
	}
	return nil
}

func alone[S syscall.Conn](socks []S) error {
	conns, err := rawConns(socks)
	if err == nil {
		err = noOthers(conns)
	}
	return err
}

func rawConns[S syscall.Conn](socks []S) ([]syscall.RawConn, error) {
	if len(socks) == 0 {
		return nil, errors.New("no sockets")
	}
	conns := make([]syscall.RawConn, len(socks))
	for i, s := range socks {
		var err error
		if conns[i], err = s.SyscallConn(); err != nil {
			return nil, err
		}
	}
	return conns, nil
}
