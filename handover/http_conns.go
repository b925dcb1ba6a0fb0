package handover

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

// A phase is that of a connection of HTTP/1. Net/http moves it on when it calls
// ConnState and the handler, and Shutdown when it closes the connection.
// The first of them to change it decides whether a request came in time.
//
//	fresh, idle -> active              a request came
//	active -> idle                     its answer did not say close
//	active -> told                     it did
//	fresh, idle -> cut                 Shutdown has closed it for writing, and waits for the client's close
//	cut -> expired                     the client did not close in time
//	cut, expired -> partial -> crossed a request came too late: a part of it, all of it
type phase int32

const (
	phaseFresh phase = iota // no request yet
	phaseIdle
	phaseActive
	phaseTold
	phaseCut
	phaseExpired
	phasePartial
	phaseCrossed
)

// An httpConn is what is known of a connection. Those of HTTP/2 are fresh, idle or
// active.
type httpConn struct {
	conn  net.Conn
	raw   syscall.Conn // what is below it, if known
	begun time.Time

	phase    atomic.Int32
	idle     atomic.Int64 // since when, in nanoseconds; 0: before Shutdown
	received atomic.Int64 // what the kernel had received then, or unknown

	h2      atomic.Bool
	streams atomic.Int32              // whose handlers run
	frames  atomic.Pointer[frameConn] // of HTTP/2

	until time.Time // when it expires, if it is cut
}

// unknown is how much was received where the kernel does not tell.
const unknown = -1

func newHTTPConn(c net.Conn) *httpConn {
	info := &httpConn{conn: c, raw: rawConn(c), begun: time.Now()}
	info.received.Store(unknown)
	return info
}

func (c *httpConn) is(p phase) bool          { return phase(c.phase.Load()) == p }
func (c *httpConn) move(from, to phase) bool { return c.phase.CompareAndSwap(int32(from), int32(to)) }

// setState takes what net/http says of the connection. While draining, a
// connection that becomes idle for the first time is so from now on; and once only,
// so that no client can go on without end.
func (c *httpConn) setState(state http.ConnState, stage int32) {
	switch state {
	case http.StateActive:
		_ = c.move(phaseIdle, phaseActive) || c.move(phaseFresh, phaseActive) || c.move(phaseCut, phasePartial) || c.move(phaseExpired, phasePartial)
	case http.StateIdle:
		if stage == stageClosing && !c.h2.Load() {
			// Net/http closes it, or Shutdown.
			c.move(phaseActive, phaseExpired)
			return
		}
		if stage != stageServing {
			c.received.Store(bytesReceived(c.raw))
			c.idle.CompareAndSwap(0, time.Now().UnixNano())
		}
		// A handler can keep a connection of HTTP/1.0 that was told.
		_ = c.move(phaseActive, phaseIdle) || c.move(phaseTold, phaseIdle)
	}
}

// headBegun reports whether something was received since the connection is idle.
func (c *httpConn) headBegun() bool {
	was, now := c.received.Load(), bytesReceived(c.raw)
	return was != unknown && now != unknown && now > was
}

// halfClose tells the client that there will be no more answers, by a FIN, and with
// TLS by close_notify as well. The client can still be heard. It returns false if the
// connection has no FIN of its own.
func (c *httpConn) halfClose() bool {
	if t, ok := c.conn.(*tls.Conn); ok {
		t.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // the client reads nothing
		t.CloseWrite()                                             // fails before the handshake is over
	}
	w, ok := c.raw.(interface{ CloseWrite() error })
	if ok {
		w.CloseWrite() // fails if the client has just reset the connection, which net/http notices
	}
	return ok
}
