package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzRoundTrip writes a socket as the kernel does, and reads it.
func FuzzRoundTrip(f *testing.F) {
	f.Add(false, true, uint8(6), uint8(10), uint8(3), uint8(1), uint32(60000), uint32(7), uint32(65534), uint32(4711), uint64(42),
		[]byte("0123456789abcdef"), uint16(80), []byte("fedcba9876543210"), uint16(1024), true, false)
	f.Fuzz(func(t *testing.T, big, v6 bool, protocol, state, timer, retransmits uint8, expires, queue, uid, inode uint32, cookie uint64,
		local []byte, localPort uint16, remote []byte, remotePort uint16, v6onlyKnown, v6only bool) {
		order := binary.AppendByteOrder(binary.LittleEndian)
		if big {
			order = binary.BigEndian
		}
		if len(local) != 16 || len(remote) != 16 || protocol == 0 {
			return
		}
		want := Socket{
			Family: unix.AF_INET, Protocol: protocol, State: State(state), Timer: timer, Retransmits: retransmits,
			Local:     netip.AddrPortFrom(netip.AddrFrom4([4]byte(local)), localPort),
			Remote:    netip.AddrPortFrom(netip.AddrFrom4([4]byte(remote)), remotePort),
			Interface: uid, Cookie: cookie, Expires: time.Duration(expires) * time.Millisecond, Queue: queue, UID: uid, Inode: inode,
			Cgroup: cookie, V6OnlyKnown: v6onlyKnown, V6Only: v6onlyKnown && v6only,
		}
		if v6 {
			want.Family = unix.AF_INET6
			want.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(local)).Unmap(), localPort)
			want.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(remote)).Unmap(), remotePort)
		}
		if protocol == unix.IPPROTO_TCP && want.State == Close {
			want.State = Bound
		}
		body := []byte{want.Family, state, timer, retransmits}
		body = binary.BigEndian.AppendUint16(body, localPort)
		body = binary.BigEndian.AppendUint16(body, remotePort)
		body = append(append(body, local...), remote...)
		body = order.AppendUint32(body, uid)
		body = order.AppendUint32(body, uint32(cookie))
		body = order.AppendUint32(body, uint32(cookie>>32))
		for _, n := range []uint32{expires, queue, 0, uid, inode} {
			body = order.AppendUint32(body, n)
		}
		attr := func(kind uint16, value []byte) {
			body = order.AppendUint16(body, uint16(sizeAttr+len(value)))
			body = order.AppendUint16(body, kind)
			body = append(body, value...)
			body = append(body, make([]byte, -len(value)&3)...)
		}
		attr(8, []byte{0}) // INET_DIAG_SHUTDOWN
		if v6onlyKnown {
			attr(attrV6Only, map[bool][]byte{false: {0}, true: {1}}[v6only])
		}
		attr(attrCgroup, order.AppendUint64(nil, cookie))
		got, err := parseInet(reader{data: body, order: orderOf(big)}, protocol)
		if err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	})
}

// FuzzUnixRoundTrip does so with a unix socket.
func FuzzUnixRoundTrip(f *testing.F) {
	f.Add(false, uint8(1), uint8(10), uint32(4711), uint32(65534), uint32(12), []byte("/run/socket\x00"), true)
	f.Add(true, uint8(5), uint8(1), uint32(0), uint32(0), uint32(0), []byte("\x00abstract\x00"), false)
	f.Fuzz(func(t *testing.T, big bool, kind, state uint8, inode, uid, fileInode uint32, name []byte, known bool) {
		order := binary.AppendByteOrder(binary.LittleEndian)
		if big {
			order = binary.BigEndian
		}
		if len(name) > 108 {
			return
		}
		want := UnixSocket{Type: kind, State: State(state), Inode: inode, Name: unixName(string(name))}
		body := order.AppendUint32([]byte{unix.AF_UNIX, kind, state, 0}, inode)
		body = append(body, "a cookie"...)
		attr := func(kind uint16, value []byte) {
			body = order.AppendUint16(body, uint16(sizeAttr+len(value)))
			body = order.AppendUint16(body, kind)
			body = append(body, value...)
			body = append(body, make([]byte, -len(value)&3)...)
		}
		attr(attrUnixName, name)
		attr(6, []byte{0}) // UNIX_DIAG_SHUTDOWN
		if known {
			want.UID, want.UIDKnown, want.FileInode = uid, true, fileInode
			want.FileDevice = unix.Mkdev(uid>>20, uid&(1<<20-1))
			attr(attrUnixFile, order.AppendUint32(order.AppendUint32(nil, fileInode), uid))
			attr(attrUnixUID, order.AppendUint32(nil, uid))
		}
		got, err := parseUnix(reader{data: body, order: orderOf(big)})
		if err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	})
}
