package handover

import (
	"context"
	"net"
	"net/http"
)

// hook installs what Shutdown needs, before the first connection. The caller has
// gating.
func (s *HTTPServer) hook(secure bool) {
	if h, ok := s.Handler.(*httpHandler); !ok || h.s != s {
		next := s.Handler
		if next == nil {
			next = http.DefaultServeMux
		}
		s.Handler = &httpHandler{s, next}
	}
	if s.hooked {
		return
	}
	s.hooked = true
	connContext, connState := s.ConnContext, s.ConnState
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if connContext != nil {
			if ctx = connContext(ctx, c); ctx == nil {
				return nil // Serve panics
			}
		}
		return context.WithValue(ctx, httpConnKey{}, s.add(c))
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if f, ok := c.(interface{ original() net.Conn }); ok {
			c = f.original()
		}
		s.setState(c, state)
		if connState != nil {
			connState(c, state)
		}
	}
	s.hookHTTP2(secure)
}

func (s *HTTPServer) add(c net.Conn) *httpConn {
	info := newHTTPConn(c)
	s.conns.Store(c, info)
	for _, g := range s.served() {
		g.accepted().conns.remove(info.raw)
	}
	return info
}

func (s *HTTPServer) setState(c net.Conn, state http.ConnState) {
	v, ok := s.conns.Load(c)
	if !ok {
		return
	}
	info, stage := v.(*httpConn), s.stage.Load()
	switch state {
	case http.StateHijacked:
		if info.raw != nil {
			s.hijacked.add(info.raw)
		}
		s.conns.Delete(c)
	case http.StateClosed:
		s.forget(info)
	default:
		info.setState(state, stage)
	}
	if stage != stageServing {
		s.notify()
	}
}

// forget counts what a connection's end means.
func (s *HTTPServer) forget(c *httpConn) {
	if _, ok := s.conns.LoadAndDelete(c.conn); !ok {
		return
	}
	switch phase(c.phase.Load()) {
	case phaseExpired:
		s.lost.untold.Add(1)
	case phasePartial:
		s.lost.partial.Add(1)
	case phaseCrossed:
		s.lost.crossed.Add(1)
	}
}

func (s *HTTPServer) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
