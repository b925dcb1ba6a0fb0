package handover

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// An h2Client is one connection of HTTP/2.
type h2Client struct {
	net.Conn
	t       testing.TB
	scanner frameScanner
	frames  []frame
}

func http2Protocols(s *HTTPServer) {
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
}

func (s *testServer) dialHTTP2(t testing.TB) *h2Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if s.secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	c := &h2Client{Conn: conn, t: t}
	io.WriteString(c, clientPreface)
	c.write(4, 0, 0, nil) // SETTINGS
	return c
}

func (c *h2Client) write(kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	b = append(binary.BigEndian.AppendUint32(b, stream), payload...)
	if _, err := c.Conn.Write(b); err != nil {
		c.t.Error(err)
	}
}

// get opens a stream, by the static table of RFC 7541.
func (c *h2Client) get(stream uint32) {
	c.t.Helper()
	block := append([]byte{0x82, 0x86, 0x84, 0x41, 4}, "here"...) // GET, http, /, :authority
	c.write(frameHeaders, 4|1, stream, block)                     // END_HEADERS, END_STREAM
}

// next returns the next frame that is one of kinds, and io.EOF at the end.
func (c *h2Client) next(kinds ...byte) (frame, error) {
	buf := make([]byte, 4096)
	for {
		for len(c.frames) > 0 {
			f := c.frames[0]
			c.frames = c.frames[1:]
			if slices.Contains(kinds, f.kind) {
				return f, nil
			}
		}
		n, err := c.Read(buf)
		c.scanner.scan(buf[:n], func(f frame) { c.frames = append(c.frames, f) })
		if err != nil && len(c.frames) == 0 {
			return frame{}, err
		}
	}
}

func (c *h2Client) expect(kind byte) frame {
	c.t.Helper()
	f, err := c.next(kind)
	if err != nil {
		c.t.Fatalf("waiting for a frame of type %d: %v", kind, err)
	}
	return f
}

// pong answers the server's PING.
func (c *h2Client) pong() {
	c.t.Helper()
	c.write(framePing, flagAck, 0, []byte(pingData))
}
