package sockdiag

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A State is that of a socket, with the numbers of include/net/tcp_states.h.
// UDP sockets are in Close, or in Established if they are connected.
type State uint8

// The states of a socket.
const (
	Established State = iota + 1
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	Closing
	NewSynRecv
	Bound // to a port, neither listening nor connected
)

// AnyState is the set of all states.
const AnyState States = 1<<(Bound+1) - 1

// String returns the name that the kernel's documentation and ss(8) use.
func (s State) String() string {
	names := [...]string{"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
		"CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "SYN_RECV", "BOUND"}
	if s == 0 || int(s) >= len(names) {
		return fmt.Sprintf("STATE(%d)", uint8(s))
	}
	return names[s]
}

// States is a set of states.
type States uint32

// Set returns the set of states.
func Set(states ...State) States {
	var set States
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// Has reports whether s is in the set.
func (set States) Has(s State) bool { return s < 32 && set&(1<<s) != 0 }

// A Socket is a TCP or UDP socket as the kernel describes it.
type Socket struct {
	Family        uint8 // unix.AF_INET or unix.AF_INET6
	Protocol      uint8 // unix.IPPROTO_TCP or unix.IPPROTO_UDP
	State         State
	Timer         uint8 // which timer runs: 0 none, 1 retransmission, 2 keep-alive, 3 TIME_WAIT, 4 window probe
	Retransmits   uint8
	Local, Remote netip.AddrPort // IPv4-mapped addresses are unmapped, also those of IPv6 sockets
	Interface     uint32         // index of the device it is bound to, or of its link-local address; 0 none
	Cookie        uint64         // identifies the socket while the system runs; 0 unknown
	Expires       time.Duration  // until Timer fires
	Queue         uint32         // bytes received, not read; of a listener, connections not accepted
	UID           uint32         // without an Inode 0, or that of the listener: kernels differ
	Inode         uint32         // of its descriptors; 0 if no process has one
	Cgroup        uint64         // the cgroup2 directory's inode; 0 unknown

	V6OnlyKnown bool // V6Only is the socket's; the kernel tells it of Listen and Close only
	V6Only      bool // IPV6_V6ONLY
}

// Leftover reports whether no process has the socket: it is what remains of one that
// was closed or, if it is Established or CloseWait, was not accepted yet.
func (s Socket) Leftover() bool {
	return s.Inode == 0 && s.State != Listen && s.State != SynRecv && s.State != NewSynRecv
}

// A UnixSocket is a socket of family AF_UNIX.
type UnixSocket struct {
	Type  uint8  // unix.SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET
	State State  // Listen, Established or Close
	Inode uint32 // of its descriptors
	Name  string // what it is bound to; a leading NUL is shown as @

	UID      uint32
	UIDKnown bool

	// The socket file: its inode, the low 32 bits; 0 unknown. Two file systems
	// may have the same. FileDevice is that of the file system, as of stat(2),
	// where one file system is one device (not so on btrfs).
	FileInode  uint32
	FileDevice uint64
}

// TypeName returns package net's name of the socket's network.
func (s UnixSocket) TypeName() string {
	switch s.Type {
	case unix.SOCK_DGRAM:
		return "unixgram"
	case unix.SOCK_SEQPACKET:
		return "unixpacket"
	}
	return "unix"
}
