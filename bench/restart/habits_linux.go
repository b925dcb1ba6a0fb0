package main

import (
	"cmp"
	"time"
)

// Habits are what clients of HTTP do, and what a server does for them, beyond what
// other scenarios have.
type habits struct {
	Client clientKind
	Look   look
	Python bool          // the clients are those of Python's http.client
	Head   time.Duration // the head of a request takes that, in parts
	Early  time.Duration // a connection is there for that long before its first request
	Answer time.Duration // an answer takes that, and has begun

	Expect bool          // a client waits for 100 Continue before it sends the body
	Large  time.Duration // an answer is a megabyte, and the client takes that long to read it

	TLS        bool
	Replayable bool // HTTP/2: the client can send a body again

	Limit     int    // of netutil.LimitListener
	Wrap      string // what wraps the server's listener
	KeepAlive bool   // the handler sets Connection: keep-alive
	Deaf      bool   // WebSockets do not end when the server drains

	IdleTimeout time.Duration // of the http.Server
	Deadline    time.Duration // of Shutdown's context; 0: a minute
	HalfOpen    bool          // a handshake a second that does not end
	Late        time.Duration // a successor accepts that much later than it opens its socket
	Alone       bool          // a server leaves before its successor comes
	Every       time.Duration // a restart begins so long after the one before, which may go on
	Activated   bool          // the socket is one that all servers inherit, as from systemd
	GiveUp      bool          // a process listens, and ends without accepting, before each successor
}

// A clientKind is what a client speaks.
type clientKind string

const (
	keptClient     clientKind = "kept"     // HTTP/1.1, a connection for all requests
	closeClient    clientKind = "close"    // HTTP/1.1, a connection for each
	pipelineClient clientKind = "pipeline" // HTTP/1.1, a connection that is never idle
	http2Client    clientKind = "http2"    // HTTP/2, of net/http
	socketClient   clientKind = "websocket"
)

// A look is when a client looks whether the server has closed its connection.
type look string

const (
	lookAlways look = "always" // as net/http's and browsers
	lookBefore look = "before" // before each request, as urllib3 and curl
	lookNever  look = "never"  // as Python's http.client and ab
)

// deadline is that of a server's context when it leaves.
func (s scenario) deadline() time.Duration {
	if s.Habits == nil {
		return patience
	}
	return cmp.Or(s.Habits.Deadline, time.Minute)
}

// period is how long a client takes from one request to the next, about.
func (s scenario) period() time.Duration {
	if s.Habits == nil {
		return s.Pause
	}
	return s.Pause + s.Habits.Head + s.Habits.Early + s.Habits.Large + s.Habits.Answer + 3*s.RoundTrip
}
