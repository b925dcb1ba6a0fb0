package handover

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A frameConn follows the frames of a server's connection of HTTP/2, and puts the
// first GOAWAY and PINGs between them.
type frameConn struct {
	net.Conn
	s       *HTTPServer
	preface bool // that of the client is to come, and net/http takes it for read

	reading   frameScanner // of Read, with pongs
	pongs     int
	announced atomic.Bool
	agreed    atomic.Bool // the client opens no more streams

	writing sync.Mutex // of these
	written frameScanner
	begun   bool   // the server's SETTINGS came
	wanted  string // frames to be written

	streams sync.Mutex // of these
	last    uint32     // the last one that the client opened
	away    bool       // the server sent GOAWAY
	taken   uint32     // the last one that it takes since
}

// A secureFrameConn is a frameConn on TLS.
type secureFrameConn struct {
	*frameConn
	tls *tls.Conn
}

func (c secureFrameConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// original returns the connection that the server's ConnState knows.
func (c *frameConn) original() net.Conn { return c.Conn }

func (c *frameConn) Read(p []byte) (int, error) {
	if c.preface {
		if err := c.readPreface(); err != nil {
			return 0, err
		}
		c.preface = false
	}
	n, err := c.Conn.Read(p)
	c.reading.scan(p[:n], func(f frame) {
		switch {
		case f.kind == frameHeaders:
			c.opened(f.stream)
		case f.isPong() && c.announced.Load():
			c.ponged()
		}
	})
	return n, err
}

// ponged takes the client's answer to a PING. There are two: Go's client gives a
// stream its number first and writes it afterwards, so that its answer to the first
// can be ahead of a stream that is older.
func (c *frameConn) ponged() {
	c.pongs++
	switch c.pongs {
	case 1:
		c.send(ping)
	case 2:
		// Net/http reads a frame when it has handled the one before. So it
		// knows all streams that the client opened until now.
		c.agreed.Store(true)
		c.s.notify()
	}
}

func (c *frameConn) readPreface() error {
	c.Conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // as net/http
	defer c.Conn.SetReadDeadline(time.Time{})
	b := make([]byte, len(clientPreface))
	if _, err := io.ReadFull(c.Conn, b); err != nil {
		return err
	}
	if string(b) != clientPreface {
		return errors.New("the client's preface is not that of HTTP/2")
	}
	return nil
}

func (c *frameConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	n, err := c.Conn.Write(p)
	c.begun = true
	c.written.scan(p[:n], func(f frame) {
		if f.kind == frameGoAway {
			c.goAway(f.value)
		}
	})
	if err == nil {
		err = c.insert()
	}
	return n, err
}

// announce tells the client to open no more streams, although all are served, and
// asks it to say when it knows.
func (c *frameConn) announce() {
	if !c.announced.Swap(true) {
		c.send(firstGoAway + ping)
	}
}

// send writes frames of our own. It does not wait for a client that does not read.
func (c *frameConn) send(frames string) {
	go func() {
		c.writing.Lock()
		defer c.writing.Unlock()
		c.wanted += frames
		c.insert() // an error comes again when the server writes
	}()
}

// insert writes what is wanted if it can be here. The caller has writing.
func (c *frameConn) insert() error {
	if c.wanted == "" || !c.begun || !c.written.between() {
		return nil
	}
	frames := c.wanted
	c.wanted = ""
	_, err := io.WriteString(c.Conn, frames)
	return err
}

// opened notes a stream, and counts it if the server does not take it.
func (c *frameConn) opened(stream uint32) {
	c.streams.Lock()
	defer c.streams.Unlock()
	if stream <= c.last {
		return // trailers
	}
	c.last = stream
	if c.away && stream > c.taken {
		c.refuse(1)
	}
}

// goAway notes the last stream that the server takes. Others may be here already:
// those that clients open have odd numbers.
func (c *frameConn) goAway(taken uint32) {
	c.streams.Lock()
	defer c.streams.Unlock()
	if c.away {
		return
	}
	c.away, c.taken = true, taken
	if c.last > taken {
		c.refuse(int64(c.last-taken+1) / 2)
	}
}

func (c *frameConn) refuse(n int64) {
	if c.s.stage.Load() != stageServing {
		c.s.lost.crossed.Add(n)
	}
}
