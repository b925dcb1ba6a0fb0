package handover

import (
	"io"
	"net/http"
	"strings"
)

// An httpHandler is the outermost handler of a server.
type httpHandler struct {
	s    *HTTPServer
	next http.Handler
}

func (h *httpHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 {
		if c := connOf(r); c != nil {
			c.streams.Add(1)
			defer c.streams.Add(-1)
		}
	}
	if h.s.stage.Load() != stageServing || h.s.noKeepAlives.Load() {
		if c := h.s.tell(w, r); c != nil {
			defer c.move(phaseActive, phaseTold)
		}
	}
	h.next.ServeHTTP(w, r)
}

type httpConnKey struct{}

func connOf(r *http.Request) *httpConn {
	c, _ := r.Context().Value(httpConnKey{}).(*httpConn)
	return c
}

// tell makes the answer to r say that the connection closes. It returns the
// connection if net/http closes it then.
func (s *HTTPServer) tell(w http.ResponseWriter, r *http.Request) *httpConn {
	c := connOf(r)
	if c != nil && c.move(phasePartial, phaseCrossed) {
		panic(http.ErrAbortHandler) // the client takes it for not executed
	}
	if r.ProtoMajor == 2 {
		// Where there are frames, they tell. Otherwise net/http makes a GOAWAY
		// of the header: with the last answer, since a client may send the next
		// request before it knows.
		if c == nil || c.frames.Load() == nil && c.streams.Load() <= 1 {
			w.Header().Set("Connection", "close")
		}
		return nil
	}
	// MaxBytesReader "tells the ResponseWriter to close the connection after the
	// limit has been reached". Then net/http writes the header, whatever the
	// handler sets, but not with an answer that switches protocols; and it does
	// not close at once, which could destroy the answer. No ResponseWriter of our
	// own is necessary, which would hide what the server's can do.
	http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
	if r.ProtoAtLeast(1, 1) {
		// It is written all the same. Here, a handler could copy it to an answer
		// that switches protocols.
		delete(w.Header(), "Connection")
	}
	return c
}
