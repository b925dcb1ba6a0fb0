package handover

import (
	"fmt"
	"strings"
)

// A ShutdownError says what [HTTPServer.Shutdown] could not save. Each count is of
// clients that have lost something, or may.
type ShutdownError struct {
	// Crossed counts requests that arrived after Shutdown had closed their idle
	// connection. They were not executed; the clients have to repeat them.
	Crossed int
	// Partial counts requests of which only a part arrived.
	Partial int
	// Untold counts clients that do not know that their connection is closed.
	// Each of them loses the next request that it sends there, if it sends one.
	Untold int
	// Cut counts connections on which answers were under way when the context
	// ended. Shutdown leaves them open.
	Cut int
	// Hijacked counts connections that handlers have taken over, as for
	// WebSockets, and that are still open.
	Hijacked int
	// Unserved counts connections that clients have opened and that the server
	// did not get: they are in the listener's queue, or in a listener that wraps it.
	Unserved int
	// Err is the cause of the context's end, or errors of listeners, or both.
	Err error
}

func (e *ShutdownError) lost() bool {
	return e.Crossed+e.Partial+e.Untold+e.Cut+e.Hijacked+e.Unserved > 0 || e.Err != nil
}

func (e *ShutdownError) Error() string {
	var parts []string
	for _, count := range []struct {
		n         int
		one, many string
	}{
		{e.Crossed, "request came too late", "requests came too late"},
		{e.Partial, "request came in part", "requests came in part"},
		{e.Untold, "client was not told", "clients were not told"},
		{e.Cut, "connection was answering", "connections were answering"},
		{e.Hijacked, "hijacked connection is open", "hijacked connections are open"},
		{e.Unserved, "connection was not served", "connections were not served"},
	} {
		switch {
		case count.n == 1:
			parts = append(parts, "1 "+count.one)
		case count.n > 1:
			parts = append(parts, fmt.Sprint(count.n, " ", count.many))
		}
	}
	text := strings.Join(parts, ", ")
	switch {
	case e.Err == nil:
	case text == "":
		text = e.Err.Error()
	default:
		text += ": " + e.Err.Error()
	}
	return "handover: shutdown: " + text
}

// Unwrap returns Err.
func (e *ShutdownError) Unwrap() error { return e.Err }
