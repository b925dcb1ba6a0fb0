package handover

import (
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"time"
)

// Net/http sends one GOAWAY when it shuts down, and refuses requests that clients
// sent before they knew of it. RFC 9113, 6.8, has two: the first refuses nothing. To
// send it, HTTPServer needs the bytes below net/http's implementation of HTTP/2. It
// has them by a way that is not documented: net/http and golang.org/x/net/http2 keep
// a function in TLSNextProto, under this key, that serves HTTP/2 on any connection.
// TestUnencryptedHTTP2 fails when that changes. Then there is one GOAWAY.
const unencryptedHTTP2 = "unencrypted_http2"

// An unencryptedConn is what that function expects below its *tls.Conn.
type unencryptedConn struct{ net.Conn }

func (c unencryptedConn) UnencryptedNetConn() net.Conn { return c.Conn }

// hookHTTP2 makes the server serve HTTP/2 on connections that show frames.
func (s *HTTPServer) hookHTTP2(secure bool) {
	s.configureHTTP2(secure)
	protos := maps.Clone(s.TLSNextProto)
	unencrypted, h2 := protos[unencryptedHTTP2], protos["h2"]
	s.oneGoAway = unencrypted == nil
	if unencrypted != nil {
		protos[unencryptedHTTP2] = func(srv *http.Server, c *tls.Conn, h http.Handler) {
			if u, ok := c.NetConn().(interface{ UnencryptedNetConn() net.Conn }); ok {
				f := s.frames(u.UnencryptedNetConn())
				c = tls.Client(unencryptedConn{f}, nil)
			}
			unencrypted(srv, c, h)
		}
	}
	if h2 != nil {
		protos["h2"] = func(srv *http.Server, c *tls.Conn, h http.Handler) {
			if unencrypted == nil {
				s.connHTTP2(c)
				h2(srv, c, h)
				return
			}
			f := s.frames(c)
			f.preface = true
			unencrypted(srv, tls.Client(unencryptedConn{secureFrameConn{f, c}}, nil), h)
		}
	}
	s.TLSNextProto = protos
}

// configureHTTP2 makes net/http fill TLSNextProto, by serving a listener that is
// closed.
func (s *HTTPServer) configureHTTP2(secure bool) {
	base := s.BaseContext
	s.BaseContext = nil
	defer func() { s.BaseContext = base }()
	if secure {
		s.Server.ServeTLS(closedListener{}, "", "")
	} else {
		s.Server.Serve(closedListener{})
	}
}

type closedListener struct{}

func (closedListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (closedListener) Close() error              { return nil }
func (closedListener) Addr() net.Addr            { return nil }

// connHTTP2 returns what is known of a connection, which is one of HTTP/2.
func (s *HTTPServer) connHTTP2(c net.Conn) *httpConn {
	v, ok := s.conns.Load(c)
	if !ok {
		return &httpConn{} // closed by Shutdown
	}
	info := v.(*httpConn)
	info.h2.Store(true)
	return info
}

// frames returns a frameConn for c.
func (s *HTTPServer) frames(c net.Conn) *frameConn {
	f := &frameConn{Conn: c, s: s}
	s.connHTTP2(c).frames.Store(f)
	if s.stage.Load() != stageServing {
		f.announce()
	}
	return f
}

// lookHTTP2 waits until the client opens no more streams: then the GOAWAY of net/http
// refuses nothing.
func (w *waiting) lookHTTP2(c *httpConn, now time.Time) {
	w.open++
	if c.is(phaseActive) && w.t.over() {
		w.answering += max(1, int(c.streams.Load()))
	}
	f, grace := c.frames.Load(), w.t.fresh
	if f == nil {
		grace = w.t.grace // the answer to the client's next request tells it
	} else if f.announce(); f.agreed.Load() {
		return
	}
	if until := w.t.atMost(w.t.start.Add(grace)); now.Before(until) {
		w.until(until)
	}
}
