package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of the structures of include/uapi/linux/{netlink,sock_diag,inet_diag,unix_diag}.h.
const (
	sizeHeader      = 16 // struct nlmsghdr
	sizeAttr        = 4  // struct nlattr
	sizeInetRequest = 56 // struct inet_diag_req_v2
	sizeInetSocket  = 72 // struct inet_diag_msg
	sizeUnixRequest = 24 // struct unix_diag_req
	sizeUnixSocket  = 16 // struct unix_diag_msg
)

// Attributes of a socket.
const (
	attrV6Only   = 11 // INET_DIAG_SKV6ONLY
	attrCgroup   = 21 // INET_DIAG_CGROUP_ID
	attrUnixName = 0  // UNIX_DIAG_NAME
	attrUnixFile = 1  // UNIX_DIAG_VFS
	attrUnixUID  = 7  // UNIX_DIAG_UID
)

var errMalformed = errors.New("malformed netlink message")

// A reader takes numbers off the front of a message, in the byte order of the
// kernel that wrote it. Past the end it returns zeros and remembers.
type reader struct {
	data  []byte
	order binary.ByteOrder
	short bool
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.short, r.data = true, nil
		return make([]byte, min(max(n, 0), 64))
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) u8() uint8   { return r.bytes(1)[0] }
func (r *reader) u16() uint16 { return r.order.Uint16(r.bytes(2)) }
func (r *reader) u32() uint32 { return r.order.Uint32(r.bytes(4)) }

// padded takes n bytes and what aligns the next ones to 4.
func (r *reader) padded(n int) []byte {
	b := r.bytes(n)
	r.bytes(min(-n&3, len(r.data)))
	return b
}

// attributes calls f with each attribute that is left in the message.
func (r *reader) attributes(f func(kind uint16, value reader)) {
	for len(r.data) >= sizeAttr && !r.short {
		length := int(r.u16())
		kind := r.u16() &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		f(kind, reader{data: r.padded(length - sizeAttr), order: r.order})
	}
}

// eachMessage calls f with every message of the answer to request seq in a
// datagram. It reports whether that ends the answer, and the error of the kernel
// or of f.
func eachMessage(datagram []byte, order binary.ByteOrder, seq uint32, f func(kind uint16, body reader) error) (done bool, err error) {
	r := reader{data: datagram, order: order}
	for len(r.data) > 0 {
		length := int(r.u32())
		kind, flags, of := r.u16(), r.u16(), r.u32()
		r.u32() // the receiver's port
		body := reader{data: r.padded(length - sizeHeader), order: order}
		if r.short {
			return false, errMalformed
		}
		if of != seq {
			continue // of an earlier request that was given up
		}
		switch kind {
		case unix.NLMSG_DONE:
			// Older kernels end a dump that failed with its error here.
			if len(body.data) >= 4 {
				err = errnoOf(body.u32())
			}
			return true, err
		case unix.NLMSG_ERROR:
			err = errnoOf(body.u32())
			if body.short {
				err = errMalformed
			}
			return true, err
		case unix.NLMSG_NOOP:
			continue
		}
		if err := f(kind, body); err != nil {
			return false, err
		}
		if flags&unix.NLM_F_MULTI == 0 {
			return true, nil
		}
	}
	return false, nil
}

// errnoOf returns the error of a number that the kernel wrote: 0 or a negative
// errno.
func errnoOf(n uint32) error {
	if n == 0 {
		return nil
	}
	if number := -int32(n); number > 0 && number < 4096 {
		return syscall.Errno(number)
	}
	return fmt.Errorf("%w: error %d", errMalformed, int32(n))
}

// parseInet reads a struct inet_diag_msg and its attributes.
func parseInet(r reader, protocol uint8) (Socket, error) {
	s := Socket{Protocol: protocol}
	s.Family, s.State, s.Timer, s.Retransmits = r.u8(), State(r.u8()), r.u8(), r.u8()
	localPort, remotePort := binary.BigEndian.Uint16(r.bytes(2)), binary.BigEndian.Uint16(r.bytes(2))
	local, remote := r.bytes(16), r.bytes(16)
	s.Interface = r.u32()
	s.Cookie = uint64(r.u32()) | uint64(r.u32())<<32
	s.Expires = time.Duration(r.u32()) * time.Millisecond
	s.Queue = r.u32()
	r.u32() // bytes to be sent
	s.UID, s.Inode = r.u32(), r.u32()
	if r.short {
		return Socket{}, errMalformed
	}
	s.Local, s.Remote = addrPort(s.Family, local, localPort), addrPort(s.Family, remote, remotePort)
	if !s.Local.IsValid() {
		return Socket{}, fmt.Errorf("%w: family %d", errMalformed, s.Family)
	}
	if protocol == unix.IPPROTO_TCP && s.State == Close {
		s.State = Bound // which the kernel has no number for in its answers
	}
	r.attributes(func(kind uint16, value reader) {
		switch {
		case kind == attrV6Only && len(value.data) == 1:
			s.V6OnlyKnown, s.V6Only = true, value.data[0] != 0
		case kind == attrCgroup && len(value.data) == 8:
			s.Cgroup = r.order.Uint64(value.data)
		}
	})
	if r.short {
		return Socket{}, errMalformed
	}
	return s, nil
}

func addrPort(family uint8, b []byte, port uint16) netip.AddrPort {
	switch family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).Unmap(), port)
	}
	return netip.AddrPort{}
}

// parseUnix reads a struct unix_diag_msg and its attributes.
func parseUnix(r reader) (UnixSocket, error) {
	if family := r.u8(); family != unix.AF_UNIX {
		return UnixSocket{}, fmt.Errorf("%w: family %d", errMalformed, family)
	}
	s := UnixSocket{Type: r.u8(), State: State(r.u8())}
	r.u8() // padding
	s.Inode = r.u32()
	r.bytes(8) // cookie
	if r.short {
		return UnixSocket{}, errMalformed
	}
	r.attributes(func(kind uint16, value reader) {
		switch {
		case kind == attrUnixName:
			s.Name = unixName(string(value.data))
		case kind == attrUnixFile && len(value.data) == 8:
			s.FileInode = value.u32()
			device := value.u32() // the kernel's own dev_t: 12 bits, 20 bits
			s.FileDevice = unix.Mkdev(device>>20, device&(1<<20-1))
		case kind == attrUnixUID && len(value.data) == 4:
			s.UID, s.UIDKnown = value.u32(), true
		}
	})
	if r.short {
		return UnixSocket{}, errMalformed
	}
	return s, nil
}

// unixName returns an address as package net writes it. The kernel ends a path
// with a NUL, and begins an abstract name with one.
func unixName(s string) string {
	if strings.HasPrefix(s, "\x00") {
		return "@" + s[1:]
	}
	s, _, _ = strings.Cut(s, "\x00")
	return s
}
