//go:build unix

package inuse

import "fmt"

// lowPorts is the first port that every user may have, on macOS and the BSDs.
const lowPorts = 1024

// low says that this user may not have the port. Where the system lets that be changed,
// the remedy is to do so.
func (a attempt) low(me asker, system string) *finding {
	f := a.because(CausePrivileged, facts{"start": fmt.Sprint(lowPorts), "below": fmt.Sprint(a.local.Port() - 1)})
	f.asker, f.instead = me, []string{}
	if system == "freebsd" || system == "dragonfly" {
		f.instead = []string{"lower-reserved"}
	}
	return f
}
