//go:build unix

package inuse

import (
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// rcUnit returns the service of rc.d that a process is, if one has its name and says in
// its file below /var/run that this is its process.
func rcUnit(root fs.FS, command string, pid int) unit {
	none := unit{user: -1}
	if pid <= 0 || command == "" || strings.ContainsAny(command, "/ ") || !fs.ValidPath(command) {
		return none
	}
	isService := slices.ContainsFunc([]string{"etc/rc.d/", "usr/local/etc/rc.d/", "usr/pkg/share/examples/rc.d/"}, func(dir string) bool {
		info, err := fs.Stat(root, dir+command)
		return err == nil && info.Mode().IsRegular()
	})
	if !isService {
		return none
	}
	for _, name := range []string{"var/run/" + command + ".pid", "var/run/" + command + "/" + command + ".pid"} {
		if pidFile(root, name) == pid {
			return unit{name: command, user: -1, kind: rcService}
		}
	}
	return none
}

// pidFile returns what a file of a process id says, 0 if it says nothing.
func pidFile(root fs.FS, name string) int {
	info, err := fs.Stat(root, name)
	if err != nil || !info.Mode().IsRegular() { // a fifo would keep this from ending
		return 0
	}
	f, err := root.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	const most = 32
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}
