package group

import "golang.org/x/sys/unix"

// Indices of no device; together with that of the device that a socket was bound
// to, they still tell which group the socket is of, or was.
const (
	hidden = 1 << 30
	left   = 1 << 29
)

// Hide keeps packets from finding the socket by itself. A socket that is bound to
// a device matches only what arrives there, and SO_BINDTOIFINDEX takes the index
// of one that does not exist (sock_bindtoindex_locked, compute_score). It takes
// CAP_NET_RAW if the socket is bound to a device already.
//
// A TCP listener stays in its group, whose program does not look at that and has
// to steer away from it still. It is hidden right before it is closed: close
// removes it from its group first, and from the hash table then (inet_unhash),
// and what comes upon it in between finds a socket without a group, takes that,
// and is lost. The caller waits for a grace period between the two.
//
// A UDP socket leaves its group by that (udp_lib_rehash); and sends nothing any
// more, so its application has to be done with it. What has found the socket, and
// not yet its group, at that very moment is lost.
func (s *Socket) Hide() error {
	index := hidden
	if s.Protocol == unix.IPPROTO_UDP {
		index = left
	}
	return control(s, func(fd int) error {
		return unsupported("setsockopt SO_BINDTOIFINDEX",
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index|int(s.device)))
	})
}
