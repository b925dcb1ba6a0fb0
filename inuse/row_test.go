//go:build unix || windows

package inuse

import (
	"fmt"
	"strings"
)

// rowTexts returns rows as lines.
func rowTexts(rows []row) (lines []string) {
	for _, r := range rows {
		s := fmt.Sprintf("%d %s %s", r.pid, r.command, r.network)
		if r.dual {
			s += " dual"
		}
		if r.path != "" {
			s += fmt.Sprintf(" %q", r.path)
		} else {
			s += " " + r.local.String()
		}
		if r.remote.IsValid() {
			s += "->" + r.remote.String()
		}
		if r.user != "" {
			s += " " + r.user
		}
		s += " " + r.state
		if r.options.Known {
			s += fmt.Sprintf(" addr=%v port=%v", r.options.ReuseAddr, r.options.ReusePort)
		}
		lines = append(lines, strings.TrimSpace(s))
	}
	return lines
}
