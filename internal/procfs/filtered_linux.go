package procfs

import "strings"

// Filtered reports whether a filter of system calls may kill the calling thread for
// one (seccomp(2)), as of a service that systemd has restricted by
// SystemCallFilter=. Nothing tells which calls. It is true where nothing tells whether
// there is a filter, either.
func (fs FS) Filtered() bool {
	text, err := fs.read("thread-self/status")
	return err != nil || parseFiltered(text)
}

// parseFiltered reads the line "Seccomp: mode", which a kernel without filters does
// not have.
func parseFiltered(status string) bool {
	for line := range strings.Lines(status) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(mode) != "0"
		}
	}
	return false
}
