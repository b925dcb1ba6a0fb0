//go:build unix

package inuse

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ps asks for all processes: those that have a socket, their parents, and who else is
// in their process groups.
func ps() tool {
	return tool{
		paths: []string{"/bin/ps", "/usr/bin/ps"},
		args:  []string{"-axww", "-o", "pid=,ppid=,pgid=,uid=,stat=,tty=,etime=,args="},
	}
}

// A psLine is what ps tells of a process.
type psLine struct {
	pid, parent, group, uid int
	state, terminal         string
	age                     time.Duration // -1 if it is not known
	args                    string        // with spaces between them
}

// parsePs reads the output of ps, which is the same on all systems.
func parsePs(out []byte) map[int]psLine {
	all := map[int]psLine{}
	for line := range strings.SplitSeq(string(out), "\n") {
		var fields [7]string
		rest, whole := line, true
		for i := range fields {
			rest = strings.TrimLeft(rest, " ")
			fields[i], rest, whole = strings.Cut(rest, " ")
		}
		var numbers [4]int
		var err error
		for i := range numbers {
			if err == nil {
				numbers[i], err = strconv.Atoi(fields[i])
			}
		}
		if err != nil || !whole || numbers[0] <= 0 {
			continue
		}
		p := psLine{
			pid: numbers[0], parent: numbers[1], group: numbers[2], uid: numbers[3],
			state: fields[4], terminal: fields[5], age: parseElapsed(fields[6]), args: strings.TrimSpace(rest),
		}
		if strings.Trim(p.terminal, "?-") == "" {
			p.terminal = ""
		}
		all[p.pid] = p
	}
	return all
}

// parseElapsed reads [[dd-]hh:]mm:ss. It returns -1 for anything else.
func parseElapsed(s string) time.Duration {
	days, clock, found := strings.Cut(s, "-")
	if !found {
		days, clock = "0", s
	}
	total, err := strconv.ParseUint(days, 10, 16)
	parts := strings.Split(clock, ":")
	if err != nil || len(parts) < 2 || len(parts) > 3 || found && len(parts) != 3 {
		return -1
	}
	if len(parts) == 2 {
		parts = slices.Insert(parts, 0, "0")
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil || i > 0 && n > 59 {
			return -1
		}
		total = total*[]uint64{24, 60, 60}[i] + n
	}
	return time.Duration(total) * time.Second
}

// argv returns the arguments, as far as spaces in them let that be told. Command is the
// name of the program: on macOS that of an application often has a space.
func (p psLine) argv(command string) []string {
	for end := 0; strings.Contains(command, " "); {
		i := strings.Index(p.args[end:], command)
		if i < 0 {
			break
		}
		start := end + i
		end = start + len(command)
		if (start == 0 || p.args[start-1] == '/') && (end == len(p.args) || p.args[end] == ' ') {
			return append([]string{p.args[:end]}, strings.Fields(p.args[end:])...)
		}
	}
	if words := strings.Fields(p.args); len(words) == 0 || !strings.HasSuffix(words[0], ":") {
		return words
	}
	return []string{p.args} // a title: "nginx: master process"
}

// script returns "bash run.sh" if p is a shell that runs a script, else "".
func (p psLine) script() string {
	args := strings.Fields(p.args)
	if len(args) < 2 || strings.HasPrefix(args[1], "-") {
		return ""
	}
	shell := path.Base(args[0])
	if !slices.Contains([]string{"sh", "bash", "dash", "zsh", "ksh", "ash", "csh", "tcsh", "fish"}, shell) {
		return ""
	}
	return shell + " " + path.Base(args[1])
}
