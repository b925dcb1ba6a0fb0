package group

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Of include/uapi/linux/udp.h, for what is sent and received.
const (
	udpNoCheck6TX = 101
	udpNoCheck6RX = 102
)

// omitChecksum makes a client's socket send datagrams without checksums.
func omitChecksum(fd int) error {
	return unsupported("setsockopt UDP_NO_CHECK6_TX", unix.SetsockoptInt(fd, unix.IPPROTO_UDP, udpNoCheck6TX, 1))
}

// hearDatagrams makes a UDP socket receive IPv6 datagrams without checksums, and
// drop them, until stop. It fails for sockets of IPv4 and where the application
// has set the option, or a filter.
func (s *Socket) hearDatagrams() (stop func() error, err error) {
	const checksum = 6
	filter := []unix.SockFilter{
		{Code: opLoadHalf, K: checksum}, // the packet begins with the UDP header
		{Code: opJeq, K: 0, Jf: 4},
		{Code: opLoadByte, K: skfNet},
		{Code: opRsh, K: 4},
		{Code: opJeq, K: 6, Jf: 1},
		{Code: opRet, K: 0},
		{Code: opRet, K: passAll},
	}
	set := func(on int) error {
		return control(s, func(fd int) error {
			return unsupported("setsockopt UDP_NO_CHECK6_RX", unix.SetsockoptInt(fd, unix.IPPROTO_UDP, udpNoCheck6RX, on))
		})
	}
	if s.family != unix.AF_INET6 {
		return nil, errors.New("a UDP socket of IPv4")
	}
	err = control(s, func(fd int) error {
		on, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, udpNoCheck6RX)
		if err == nil && on != 0 {
			return errors.New("the socket has UDP_NO_CHECK6_RX")
		}
		return unsupported("getsockopt UDP_NO_CHECK6_RX", err)
	})
	if err != nil {
		return nil, err
	}
	if err := s.attachFilter(filter); err != nil {
		return nil, err
	}
	if err := set(1); err != nil {
		return nil, errors.Join(err, s.detachFilter())
	}
	return func() error { return errors.Join(set(0), s.detachFilter()) }, nil
}
