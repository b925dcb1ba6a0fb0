package group

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Bits of indices of no device. The others are of the device that a socket was bound
// to. So one that is hidden, or announces another, still shows which group it is of.
const (
	hidden = 1 << 30
	left   = 1 << 29
	ghosts = 1 << 28 // of twins, with a random number
	coming = 1 << 27 // see Announce
)

// Hide keeps packets from finding the socket by itself, right before it leaves its
// group: the kernel removes it from its group first, and from the hash table then
// (inet_unhash, udp_lib_unhash), and what comes upon it in between finds a socket
// without a group, takes that, and is lost. The caller waits for a grace period
// between the two.
//
// A socket that is bound to a device matches only what arrives there
// (compute_score), and that can be one that does not exist. The socket stays in its
// group, whose program does not look at the device and has to steer away from it
// still.
//
// A TCP listener is bound by SO_BINDTOIFINDEX, which takes CAP_NET_RAW if it is
// bound to a device already. A UDP socket would leave its group by that
// (udp_lib_rehash), and at that very moment lose what close does. One of AF_INET6
// is bound by connect to a link-local address, which takes the device from the
// address and finds that there is no route then (__ip6_datagram_connect); but some
// kernels let go of the device again (6.12.118 does, 7.3.4 does not). It cannot send
// any more, so its application has to be done with it. For other UDP sockets, and on
// those kernels, errors.ErrUnsupported holds.
func (s *Socket) Hide() error {
	if s.Protocol == unix.IPPROTO_TCP {
		return s.bind(hidden)
	}
	if s.Key.family != unix.AF_INET6 || s.Key.device != 0 {
		return fmt.Errorf("hiding a UDP socket of IPv4, or one of a device: %w", errors.ErrUnsupported)
	}
	return control(s, func(fd int) error {
		err := unix.Connect(fd, &unix.SockaddrInet6{Port: 9, ZoneId: hidden, Addr: [16]byte{0xfe, 0x80, 15: 1}})
		if device, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX); device != hidden {
			return fmt.Errorf("connect binds the socket to no device (%v): %w", err, errors.ErrUnsupported)
		}
		return nil
	})
}

// Leave takes the socket out of its group, whoever else has a descriptor of it.
//
// A TCP listener stops listening by shutdown(2), which closes what is in its queue
// (tcp_disconnect). A UDP socket is bound to a device that does not exist; one that
// could not be hidden loses what has found it, and not yet its group, at that very
// moment. It cannot send any more. One that is hidden leaves when it is closed:
// errors.ErrUnsupported holds.
func (s *Socket) Leave() error {
	if s.Protocol == unix.IPPROTO_UDP {
		return s.bind(left)
	}
	return control(s, func(fd int) error { return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_RD)) })
}

func (s *Socket) bind(index int) error {
	return control(s, func(fd int) error {
		return setsockopt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index|int(s.Key.device), "SO_BINDTOIFINDEX")
	})
}
