package handover

import "encoding/binary"

// Frames of RFC 9113, 6.
const (
	frameHeaders = 1
	framePing    = 6
	frameGoAway  = 7

	flagAck = 1

	frameHead = 9
	frameSeen = 4 // of the payload
)

const (
	// The first GOAWAY takes all streams that there can be.
	firstGoAway = "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x7f\xff\xff\xff\x00\x00\x00\x00"

	// A PING asks for an answer.
	ping     = "\x00\x00\x08\x06\x00\x00\x00\x00\x00" + pingData
	pingData = "handover"
)

const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A frame is the head of one, and the first four bytes of its payload.
type frame struct {
	kind, flags   byte
	stream, value uint32
}

// isPong reports whether f is the client's answer to our PING.
func (f frame) isPong() bool {
	return f.kind == framePing && f.flags&flagAck != 0 && f.value == binary.BigEndian.Uint32([]byte(pingData))
}

// A frameScanner finds frames in a stream of bytes.
type frameScanner struct {
	head [frameHead + frameSeen]byte
	n    int // bytes of head that are there
	rest int // bytes of the payload after those
}

// between reports whether the next byte begins a frame.
func (s *frameScanner) between() bool { return s.n == 0 && s.rest == 0 }

// scan takes the next bytes, and calls see for each frame of which the head is whole.
func (s *frameScanner) scan(p []byte, see func(frame)) {
	for len(p) > 0 {
		if s.rest > 0 {
			k := min(s.rest, len(p))
			s.rest -= k
			p = p[k:]
			continue
		}
		k := copy(s.head[s.n:s.size()], p)
		s.n += k
		p = p[k:]
		if s.n < frameHead || s.n < s.size() {
			continue
		}
		clear(s.head[s.n:]) // of the frame before
		see(frame{
			kind: s.head[3], flags: s.head[4],
			stream: binary.BigEndian.Uint32(s.head[5:]) &^ (1 << 31),
			value:  binary.BigEndian.Uint32(s.head[frameHead:]),
		})
		s.n, s.rest = 0, s.length()-min(s.length(), frameSeen)
	}
}

func (s *frameScanner) length() int {
	return int(s.head[0])<<16 | int(s.head[1])<<8 | int(s.head[2])
}

// size returns how much of head there will be.
func (s *frameScanner) size() int {
	if s.n < frameHead {
		return frameHead
	}
	return frameHead + min(s.length(), frameSeen)
}
