package main

import "time"

// http2 are clients of net/http, which wait for a second before they repeat a request
// once more: that is no delay.
func (l *loadList) http2() {
	for _, secure := range []bool{true, false} {
		name, about := "h2c", "HTTP/2 without TLS"
		if secure {
			name, about = "h2", "HTTP/2"
		}
		h := habits{Client: http2Client, TLS: secure, Replayable: true}
		l.add(20*ms, name, about, 64, 200*ms, 20, h).Delays = false
		name, about, h.Replayable = name+"-once", about+", bodies that can't be sent again", false
		s := l.add(20*ms, name, about, 64, 200*ms, 20, h)
		s.Delays, s.Short = false, secure
		l.add(100*ms, name+"-busy", about+", without pause", 64, 0, 20, h).Delays = false
	}
	h := habits{Client: http2Client, TLS: true, Answer: 4 * time.Second}
	l.add(20*ms, "h2-answer", "HTTP/2, answers take 4 s", 64, 300*ms, 6, h).Delays = false
	l.ends(2*time.Second, "h2-ctx-2s", "the same, ctx ends after 2 s", 300*ms, 10, h).Delays = false
}

// sockets are clients of WebSockets.
func (l *loadList) sockets() {
	l.add(20*ms, "sockets", "WebSockets that end when Draining says so", 64, 300*ms, 10, habits{Client: socketClient}).Short = true
	l.add(20*ms, "sockets-deaf", "WebSockets that do not", 64, 300*ms, 3, habits{Client: socketClient, Deaf: true})
}
