//go:build unix

package inuse

import (
	"path"
	"strconv"
	"strings"
)

// launchctl asks launchd for its jobs: those of the system as root, else the user's.
func launchctl() tool { return tool{paths: []string{"/bin/launchctl"}, args: []string{"list"}} }

// parseLaunchctl reads the output of launchctl list: a line a job with the process id,
// or a hyphen, the last status, and the label.
func parseLaunchctl(out []byte) map[int]string {
	labels := map[int]string{}
	for line := range strings.SplitSeq(string(out), "\n") {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		if pid, err := strconv.Atoi(fields[0]); err == nil && pid > 0 {
			labels[pid] = fields[2]
		}
	}
	return labels
}

// homebrew is what the labels of Homebrew's services begin with.
const homebrew = "homebrew.mxcl."

// launchdUnit returns the job of launchd as a unit: one of the system, or one of the
// asking user. Applications that the user has opened, and Apple's own jobs, which stay
// whatever one does, are none.
func launchdUnit(label string, system bool) unit {
	u := unit{name: label, user: -1, kind: launchdUserJob}
	if system {
		u.kind = launchdJob
	}
	switch name, brew := strings.CutPrefix(label, homebrew); {
	case brew:
		u.name, u.kind = name, brewService
	case label == "", strings.HasPrefix(label, "application."), strings.HasPrefix(label, "com.apple."), label == "-":
		return unit{user: -1}
	}
	return u
}

// isAirPlay reports whether p is macOS's ControlCenter, with a port of AirPlay Receiver.
func isAirPlay(p Process, port uint16) bool {
	const first, second = 5000, 7000
	return path.Base(p.Command) == "ControlCenter" && (port == first || port == second)
}
