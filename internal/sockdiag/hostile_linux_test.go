package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

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
}

// Every part of a real answer but the whole is incomplete or malformed, and what
// was read until then is what the whole has.
func TestTruncated(t *testing.T) {
	corpus(t, func(path string, file file, w truth, data []byte) {
		if file.table.name != "" || file.name == "error.netlink" || file.name == "lookup.netlink" {
			return
		}
		order := orderOf(w.BigEndian)
		sockets, unixSockets, _, err := parseAnswer(data, order, file.table.protocol)
		if err != nil {
			t.Fatal(err)
		}
		for n := range data {
			s, u, done, err := parseAnswer(data[:n:n], order, file.table.protocol)
			if done && err == nil {
				t.Errorf("%s: %d of %d bytes are an answer", path, n, len(data))
			}
			if !slices.Equal(s, sockets[:len(s)]) || !slices.Equal(u, unixSockets[:len(u)]) {
				t.Errorf("%s: %d of %d bytes have other sockets", path, n, len(data))
			}
		}
	})
}

// Every length of every attribute of a real socket, up to one beyond its end.
func TestAttributeLengths(t *testing.T) {
	corpus(t, func(path string, file file, w truth, data []byte) {
		if file.name != "tcp6.netlink" {
			return
		}
		order := orderOf(w.BigEndian)
		message := data[:order.Uint32(data)]
		for at := sizeHeader + sizeInetSocket; at+sizeAttr <= len(message); {
			length := order.Uint16(message[at:])
			for other := range len(message) - at + 9 {
				hostile := bytes.Clone(message)
				if beyond := len(message) - at + 8; other == beyond {
					other = 1<<16 - 1
				}
				order.PutUint16(hostile[at:], uint16(other))
				sockets, _, _, err := parseAnswer(hostile, order, unix.IPPROTO_TCP)
				if (other < sizeAttr || at+other > len(message)) && (len(sockets) > 0 || !errors.Is(err, errMalformed)) {
					t.Fatalf("%s: attribute at %d with length %d: %+v, %v", path, at, other, sockets, err)
				}
				for _, s := range sockets {
					checkValid(t, s)
				}
			}
			at += int(length+3) &^ 3
		}
	})
}
