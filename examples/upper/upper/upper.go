// Package upper answers with what it is sent, ASCII letters in upper case and
// every other byte as it came.
package upper

import (
	"encoding/binary"
	"io"
	"net"
)

// Upper changes the letters a to z in p to A to Z, in place. No other byte
// changes, be it NUL or a part of a UTF-8 sequence.
func Upper(p []byte) {
	for len(p) >= 8 {
		x := binary.NativeEndian.Uint64(p)
		binary.NativeEndian.PutUint64(p, x^lower(x)>>2)
		p = p[8:]
	}
	for i, c := range p {
		if 'a' <= c && c <= 'z' {
			p[i] = c - ('a' - 'A')
		}
	}
}

// lower returns a word with bit 7, and no other, set in the bytes that are
// lower-case letters in x. Bit 7 is worth four times 'a' - 'A'.
func lower(x uint64) uint64 {
	const (
		ones = 0x0101010101010101
		high = ones * 0x80
	)
	// Without their bit 7 the bytes are below 128, so that no sum carries into
	// the next byte: bit 7 of a sum is the result of its comparison.
	low := x &^ high
	fromA := low + ones*(0x80-'a')
	afterZ := low + ones*(0x80-'z'-1)
	return fromA &^ afterZ &^ x & high
}

// Echo answers on w what it reads from r, as [Upper] makes it, until r ends. It
// answers each read before the next one, and returns nil at the end of r, or
// else the first error. Only its buffer is allocated, once.
func Echo(w io.Writer, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		// A reader can return the last bytes together with its error.
		n, readErr := r.Read(buf)
		if n > 0 {
			Upper(buf[:n])
			written, err := w.Write(buf[:n])
			if err != nil {
				return err
			}
			if written != n {
				return io.ErrShortWrite
			}
		}
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}

// EchoPackets answers every datagram with one of the same length, as [Upper]
// makes it, until a read fails, and returns that error. conn must not be
// connected. Only the buffer is allocated, once.
//
// An answer that cannot be sent is left out: there is no telling its client,
// and the others are still to be served.
func EchoPackets(conn *net.UDPConn) error {
	buf := make([]byte, 64<<10) // more than any datagram holds
	// By default macOS and the BSDs have room for less: 9 KiB to send.
	conn.SetReadBuffer(4 * len(buf))
	conn.SetWriteBuffer(4 * len(buf))
	for {
		n, client, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		Upper(buf[:n])
		conn.WriteToUDPAddrPort(buf[:n], client)
	}
}
