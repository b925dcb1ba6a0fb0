package group

import (
	"math"
	"runtime"

	"golang.org/x/sys/unix"
)

// Attach makes a program that of the group that s is in, in place of another.
func (s *Socket) Attach(program []Instruction) error {
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return control(s, func(fd int) error {
		err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, fprog)
		runtime.KeepAlive(filter)
		return unsupported("setsockopt SO_ATTACH_REUSEPORT_CBPF", err)
	})
}

// Detach leaves the group without a program, whether it had one or not. Where the
// kernel or a sandbox refuses that, it leaves one that chooses nobody, so that the
// kernel goes by its hash.
func (s *Socket) Detach() error {
	err := control(s, func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
		if err == unix.ENOENT {
			return nil
		}
		return unsupported("setsockopt SO_DETACH_REUSEPORT_BPF", err)
	})
	if err != nil && s.Attach(Among([]int{math.MaxInt32})) == nil {
		return nil
	}
	return err
}
