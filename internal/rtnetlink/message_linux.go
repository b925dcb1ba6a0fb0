package rtnetlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sizes of the structures of include/uapi/linux/{netlink,rtnetlink,genetlink}.h.
const (
	sizeHeader  = 16 // struct nlmsghdr
	sizeAttr    = 4  // struct nlattr
	sizeLink    = 16 // struct ifinfomsg
	sizeGeneric = 4  // struct genlmsghdr
)

var errMalformed = errors.New("malformed netlink message")

// eachMessage calls f with the body of every message in a datagram that answers request
// seq. It reports whether that ends the answer, and the error of the kernel or of f.
func eachMessage(datagram []byte, seq uint32, f func(body []byte) error) (done bool, err error) {
	for len(datagram) > 0 {
		if len(datagram) < sizeHeader {
			return false, errMalformed
		}
		length := int(binary.NativeEndian.Uint32(datagram))
		kind, flags := binary.NativeEndian.Uint16(datagram[4:]), binary.NativeEndian.Uint16(datagram[6:])
		of := binary.NativeEndian.Uint32(datagram[8:])
		if length < sizeHeader || length > len(datagram) {
			return false, errMalformed
		}
		body := datagram[sizeHeader:length]
		datagram = datagram[min(align(length), len(datagram)):]
		if of != seq {
			continue
		}
		switch kind {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			if len(body) >= 4 {
				return true, errnoOf(binary.NativeEndian.Uint32(body))
			}
			return true, nil
		case unix.NLMSG_NOOP:
			continue
		}
		if err := f(body); err != nil {
			return false, err
		}
		if flags&unix.NLM_F_MULTI == 0 {
			return true, nil
		}
	}
	return false, nil
}

// errnoOf returns the error of a number that the kernel wrote: 0 or a negative errno.
func errnoOf(n uint32) error {
	switch number := -int32(n); {
	case number == 0:
		return nil
	case number > 0 && number < 4096:
		return syscall.Errno(number)
	}
	return fmt.Errorf("%w: error %d", errMalformed, int32(n))
}

func align(n int) int { return (n + 3) &^ 3 }

// attributes returns the attributes in b by their kind: of several the last.
func attributes(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= sizeAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < sizeAttr || length > len(b) {
			break
		}
		all[binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER)] = b[sizeAttr:length]
		b = b[min(align(length), len(b)):]
	}
	return all
}

// attribute appends one.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(sizeAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func bigEndian(b []byte) uint16 {
	if len(b) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

// parseLink reads a struct ifinfomsg and its attributes. A tunnel tells its port in the
// network's byte order.
func parseLink(body []byte) (Link, error) {
	if len(body) < sizeLink {
		return Link{}, errMalformed
	}
	l := Link{Index: int(int32(binary.NativeEndian.Uint32(body[4:]))), Up: binary.NativeEndian.Uint32(body[8:])&unix.IFF_UP != 0}
	attrs := attributes(body[sizeLink:])
	l.Name = text(attrs[unix.IFLA_IFNAME])
	const infoKind, infoData = 1, 2 // IFLA_INFO_KIND, IFLA_INFO_DATA
	info := attributes(attrs[unix.IFLA_LINKINFO])
	l.Kind = text(info[infoKind])
	data := attributes(info[infoData])
	switch l.Kind {
	case "vxlan":
		l.Port = bigEndian(data[15]) // IFLA_VXLAN_PORT
		_, group6 := data[16]        // IFLA_VXLAN_GROUP6
		_, local6 := data[17]        // IFLA_VXLAN_LOCAL6
		_, both := data[25]          // IFLA_VXLAN_COLLECT_METADATA
		both = both && len(data[25]) == 1 && data[25][0] != 0
		l.IPv6 = group6 || local6 || both
		l.IPv4 = !(group6 || local6) || both
	case "geneve":
		l.Port = bigEndian(data[5]) // IFLA_GENEVE_PORT
		_, remote6 := data[7]       // IFLA_GENEVE_REMOTE6
		_, both := data[6]          // IFLA_GENEVE_COLLECT_METADATA
		l.IPv6, l.IPv4 = remote6 || both, !remote6 || both
	case "bareudp":
		l.Port = bigEndian(data[1]) // IFLA_BAREUDP_PORT
		l.IPv4, l.IPv6 = true, true
	}
	return l, nil
}

// parseFamily returns the number of a family of generic netlink.
func parseFamily(body []byte) (uint16, error) {
	if len(body) < sizeGeneric {
		return 0, errMalformed
	}
	id := attributes(body[sizeGeneric:])[unix.CTRL_ATTR_FAMILY_ID]
	if len(id) != 2 {
		return 0, errMalformed
	}
	return binary.NativeEndian.Uint16(id), nil
}

// parseListenPort returns the port of a WireGuard interface, 0 if there is none in this
// message: further ones hold more peers.
func parseListenPort(body []byte) (uint16, error) {
	if len(body) < sizeGeneric {
		return 0, errMalformed
	}
	const listenPort = 6 // WGDEVICE_A_LISTEN_PORT
	port := attributes(body[sizeGeneric:])[listenPort]
	if len(port) != 2 {
		return 0, nil
	}
	return binary.NativeEndian.Uint16(port), nil
}
