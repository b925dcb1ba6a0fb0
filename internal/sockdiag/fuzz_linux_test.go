package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// FuzzAnswer reads hostile answers. What it accepts makes sense.
func FuzzAnswer(f *testing.F) {
	corpus(f, func(_ string, order binary.ByteOrder, index int, data []byte) {
		if file := captured[index]; file.body != nil {
			f.Add(data, order == binary.BigEndian, file.table.protocol)
			f.Add(data[:len(data)/2], order == binary.BigEndian, file.table.protocol)
		}
	})
	f.Fuzz(func(t *testing.T, data []byte, big bool, protocol uint8) {
		order := binary.ByteOrder(binary.LittleEndian)
		if big {
			order = binary.BigEndian
		}
		sockets, unixSockets, _, err := parseAnswer(data, order, protocol)
		for i, s := range sockets {
			if err != nil && i == len(sockets)-1 {
				break // the one that is refused
			}
			if !s.Local.IsValid() || !s.Remote.IsValid() || s.Family != unix.AF_INET && s.Family != unix.AF_INET6 || s.Expires < 0 {
				t.Errorf("%+v", s)
			}
			_ = s.State.String()
		}
		if n := len(sockets) + len(unixSockets); n > len(data)/sizeHeader {
			t.Errorf("%d sockets in %d bytes", n, len(data))
		}
	})
}

// FuzzRoundTrip writes a socket as the kernel does, and reads it.
func FuzzRoundTrip(f *testing.F) {
	f.Add(false, true, uint8(6), uint8(10), uint8(3), uint8(1), uint32(60000), uint32(7), uint32(65534), uint32(4711), uint64(42),
		[]byte("0123456789abcdef"), uint16(80), []byte("fedcba9876543210"), uint16(1024), true, false)
	f.Fuzz(func(t *testing.T, big, v6 bool, protocol, state, timer, retransmits uint8, expires, queue, uid, inode uint32, cookie uint64,
		local []byte, localPort uint16, remote []byte, remotePort uint16, v6onlyKnown, v6only bool) {
		order := binary.AppendByteOrder(binary.LittleEndian)
		parse := binary.ByteOrder(binary.LittleEndian)
		if big {
			order, parse = binary.BigEndian, binary.BigEndian
		}
		if len(local) != 16 || len(remote) != 16 || protocol == 0 {
			return
		}
		want := Socket{
			Family: unix.AF_INET, Protocol: protocol, State: State(state), Timer: timer, Retransmits: retransmits,
			Local:  netip.AddrPortFrom(netip.AddrFrom4([4]byte(local)), localPort),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte(remote)), remotePort),
			Cookie: cookie, Expires: time.Duration(expires) * time.Millisecond, Queue: queue, UID: uid, Inode: inode,
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
		body = order.AppendUint32(body, 0)
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
		got, err := parseInet(reader{data: body, order: parse}, protocol)
		if err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	})
}

// FuzzTable reads hostile lines of procfs.
func FuzzTable(f *testing.F) {
	corpus(f, func(_ string, order binary.ByteOrder, index int, data []byte) {
		if file := captured[index]; file.body == nil {
			f.Add(data, order == binary.BigEndian, file.table.family)
		}
	})
	f.Fuzz(func(t *testing.T, data []byte, big bool, family uint8) {
		order := binary.ByteOrder(binary.LittleEndian)
		if big {
			order = binary.BigEndian
		}
		if family != unix.AF_INET && family != unix.AF_INET6 {
			parseUnixTable(bytes.NewReader(data))
			return
		}
		sockets, _ := parseTable(bytes.NewReader(data), table{"tcp", family, unix.IPPROTO_TCP}, order, func(Socket) bool { return true })
		for _, s := range sockets {
			if !s.Local.IsValid() || !s.Remote.IsValid() || s.Expires < 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// TestHostile gives eachMessage what no kernel should send.
func TestHostile(t *testing.T) {
	order := binary.LittleEndian
	message := func(length uint32, kind, flags uint16, seq uint32, body ...byte) []byte {
		b := order.AppendUint32(nil, length)
		b = order.AppendUint16(b, kind)
		b = order.AppendUint16(b, flags)
		b = order.AppendUint32(b, seq)
		b = order.AppendUint32(b, 0)
		return append(b, body...)
	}
	socket := make([]byte, sizeInetSocket)
	socket[0] = unix.AF_INET
	whole := append(message(sizeHeader+sizeInetSocket, unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_MULTI, 1), socket...)
	minus := func(n int32) []byte { return order.AppendUint32(nil, uint32(n)) }
	withAttr := func(length uint16) []byte {
		b := append(message(sizeHeader+sizeInetSocket+4, unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_MULTI, 1), socket...)
		return append(b, byte(length), byte(length>>8), 8, 0)
	}
	for _, test := range []struct {
		name    string
		data    []byte
		sockets int
		done    bool
		err     error
	}{
		{"nothing", nil, 0, false, nil},
		{"one", whole, 1, false, nil},
		{"one, and the end", append(bytes.Clone(whole), message(20, unix.NLMSG_DONE, 2, 1, 0, 0, 0, 0)...), 1, true, nil},
		{"the end with an error", message(20, unix.NLMSG_DONE, 2, 1, minus(-int32(unix.ENOENT))...), 0, true, unix.ENOENT},
		{"the end without a number", message(16, unix.NLMSG_DONE, 2, 1), 0, true, nil},
		{"error", message(20, unix.NLMSG_ERROR, 0, 1, minus(-int32(unix.EPERM))...), 0, true, unix.EPERM},
		{"error 0", message(20, unix.NLMSG_ERROR, 0, 1, minus(0)...), 0, true, nil},
		{"positive error", message(20, unix.NLMSG_ERROR, 0, 1, minus(5)...), 0, true, errMalformed},
		{"error without a number", message(16, unix.NLMSG_ERROR, 0, 1), 0, true, errMalformed},
		{"of another request", append(message(sizeHeader+sizeInetSocket, unix.SOCK_DIAG_BY_FAMILY, 2, 7), socket...), 0, false, nil},
		{"nothing to do", message(16, unix.NLMSG_NOOP, 0, 1), 0, false, nil},
		{"length 0", message(0, unix.SOCK_DIAG_BY_FAMILY, 2, 1), 0, false, errMalformed},
		{"length below the header", message(15, unix.SOCK_DIAG_BY_FAMILY, 2, 1), 0, false, errMalformed},
		{"length beyond the datagram", message(17, unix.SOCK_DIAG_BY_FAMILY, 2, 1), 0, false, errMalformed},
		{"huge length", message(1<<31, unix.SOCK_DIAG_BY_FAMILY, 2, 1), 0, false, errMalformed},
		{"negative length", message(1<<32-1, unix.SOCK_DIAG_BY_FAMILY, 2, 1), 0, false, errMalformed},
		{"short socket", message(20, unix.SOCK_DIAG_BY_FAMILY, 2, 1, 2, 0, 0, 0), 0, false, errMalformed},
		{"unknown family", append(message(sizeHeader+sizeInetSocket, unix.SOCK_DIAG_BY_FAMILY, 2, 1), make([]byte, sizeInetSocket)...), 0, false, errMalformed},
		{"attribute of length 0", withAttr(0), 0, false, errMalformed},
		{"attribute of length 3", withAttr(3), 0, false, errMalformed},
		{"attribute without value", withAttr(4), 1, false, nil},
		{"attribute beyond the message", withAttr(5), 0, false, errMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			done, err := eachMessage(test.data, order, 1, func(_ uint16, body reader) error {
				_, err := parseInet(body, unix.IPPROTO_TCP)
				if err == nil {
					n++
				}
				return err
			})
			if n != test.sockets || done != test.done || !errors.Is(err, test.err) {
				t.Errorf("%d sockets, done %v, error %v; want %d, %v, %v", n, done, err, test.sockets, test.done, test.err)
			}
		})
	}
	// Every part of a real answer but the whole is incomplete or malformed.
	corpus(t, func(path string, order binary.ByteOrder, index int, data []byte) {
		if file := captured[index]; file.body != nil {
			for n := range data {
				if _, _, done, err := parseAnswer(data[:n], order, file.table.protocol); done && err == nil {
					t.Errorf("%s: %d of %d bytes are an answer", path, n, len(data))
				}
			}
		}
	})
}
