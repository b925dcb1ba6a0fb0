package procfs

import (
	"bytes"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is what /proc/PID/stat and status say of a process. All users may read it.
type Process struct {
	PID      int
	Name     string // of its program, as far as the kernel keeps it: comm
	State    byte   // of its first thread: R, S, D, T, t, Z and so on
	Parent   int    // 0 if it has none here
	Group    int    // its process group
	Terminal string // "pts/3", or ""
	Start    uint64 // in clock ticks since boot
	UID      int    // its real user, who may send signals to it; -1 if that is not known
	Tracer   int    // the process that traces it, or 0
}

// Process returns what is known of a process. It is not ok if the process has ended or
// is hidden.
func (fs FS) Process(pid int) (p Process, ok bool) {
	p, ok = fs.stat(pid)
	if !ok {
		return p, false
	}
	status, _ := os.ReadFile(fs.process(pid, "status"))
	p.UID, p.Tracer, _ = parseStatus(string(status))
	if p.Tracer != 0 { // a thread
		status, _ := os.ReadFile(fs.process(p.Tracer, "status"))
		if _, _, process := parseStatus(string(status)); process != 0 {
			p.Tracer = process
		}
	}
	return p, true
}

// stat reads what is in /proc/PID/stat.
func (fs FS) stat(pid int) (Process, bool) {
	text, err := os.ReadFile(fs.process(pid, "stat"))
	if err != nil {
		return Process{}, false
	}
	p, ok := parseStat(string(text))
	p.PID = pid
	return p, ok
}

// parseStat reads "pid (comm) state ppid pgrp session tty_nr …". The comm may hold
// blanks and parentheses itself.
func parseStat(stat string) (p Process, ok bool) {
	begin, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if begin < 0 || end < begin {
		return p, false
	}
	fields := strings.Fields(stat[end+1:])
	const state, parent, group, terminal, started = 0, 1, 2, 4, 19
	if len(fields) <= started {
		return p, false
	}
	p.Name = stat[begin+1 : end]
	p.State = fields[state][0]
	p.Parent, _ = strconv.Atoi(fields[parent])
	p.Group, _ = strconv.Atoi(fields[group])
	device, _ := strconv.Atoi(fields[terminal])
	p.Terminal = terminalName(uint32(device))
	p.Start, _ = strconv.ParseUint(fields[started], 10, 64)
	return p, true
}

// terminalName returns the name of a terminal below /dev, by its device number as
// the kernel's new_encode_dev writes it.
func terminalName(device uint32) string {
	major, minor := device>>8&0xfff, device&0xff|device>>12&0xfff00
	const consoles, pseudo = 4, 136
	switch {
	case major == pseudo:
		return "pts/" + strconv.Itoa(int(minor))
	case major == consoles && minor > 0 && minor < 64:
		return "tty" + strconv.Itoa(int(minor))
	case major == consoles && minor >= 64:
		return "ttyS" + strconv.Itoa(int(minor-64))
	}
	return ""
}

// parseStatus reads the lines Uid:, TracerPid: and Tgid:, the process of a thread.
func parseStatus(status string) (uid, tracer, process int) {
	uid = -1
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch name {
		case "Uid":
			if n, err := strconv.ParseUint(fields[0], 10, 32); err == nil {
				uid = int(n)
			}
		case "TracerPid":
			tracer, _ = strconv.Atoi(fields[0])
		case "Tgid":
			process, _ = strconv.Atoi(fields[0])
		}
	}
	return uid, tracer, process
}

// Started returns when p started, to the second; the zero time if that is not known.
func (p Process) Started() time.Time {
	var boot unix.Timespec
	if p.Start == 0 || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return time.Time{}
	}
	const tick = time.Second / 100 // USER_HZ, the same on all architectures that Go has
	return time.Now().Add(time.Duration(p.Start)*tick - time.Duration(boot.Nano())).Truncate(time.Second)
}

// Command returns the name of a process's program without a look at its arguments, for
// which there is Arguments. It is "" if the process has ended.
func (fs FS) Command(pid int) string {
	comm, err := os.ReadFile(fs.process(pid, "comm"))
	if err != nil {
		return ""
	}
	name := strings.TrimSuffix(string(comm), "\n")
	// The kernel keeps 15 bytes of it. The rest is in the name of the file,
	// unless that is an interpreter.
	const kept = 15
	if len(name) == kept {
		file, _ := os.Readlink(fs.process(pid, "exe"))
		if base := path.Base(file); strings.HasPrefix(base, name) {
			return strings.TrimSuffix(base, " (deleted)")
		}
	}
	return name
}

// longest is how much is read of arguments and of an environment.
const longest = 1 << 17

// Arguments returns those of a process; none if they cannot be read, or if it is a
// thread of the kernel or has ended. If its first thread has, another one is to be
// given, else 0.
func (fs FS) Arguments(ctx context.Context, g *Guard, pid, thread int) []string {
	text := fs.memory(ctx, g, pid, thread, "cmdline")
	if len(text) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
}

// Environment returns the values of the environment's keys that are asked for, as they
// were when the process started. Only its user and root may read them.
func (fs FS) Environment(ctx context.Context, g *Guard, pid int, keys ...string) map[string]string {
	values := map[string]string{}
	for pair := range bytes.SplitSeq(fs.memory(ctx, g, pid, 0, "environ"), []byte{0}) {
		for _, key := range keys {
			if value, ok := bytes.CutPrefix(pair, []byte(key+"=")); ok {
				values[key] = string(value)
			}
		}
	}
	return values
}

// memory reads a file that lies in the memory of a process.
func (fs FS) memory(ctx context.Context, g *Guard, pid, thread int, name string) []byte {
	dir := strconv.Itoa(pid)
	if thread != 0 {
		dir = filepath.Join(dir, "task", strconv.Itoa(thread))
	}
	var text []byte
	if !g.Do(ctx, func() {
		f, err := os.Open(filepath.Join(string(fs), dir, name))
		if err != nil {
			return
		}
		defer f.Close()
		text, _ = io.ReadAll(io.LimitReader(f, longest))
	}) {
		return nil
	}
	return text
}

// Directory returns the working directory of a process, "" if this one may not know it.
func (fs FS) Directory(pid int) string {
	dir, _ := os.Readlink(fs.process(pid, "cwd"))
	return dir
}

// Cgroup returns the cgroup of a process: that of cgroup2 or, if that is the root or
// there is none, that of systemd's own hierarchy.
func (fs FS) Cgroup(pid int) string {
	text, err := os.ReadFile(fs.process(pid, "cgroup"))
	if err != nil {
		return ""
	}
	return parseCgroup(string(text))
}

// parseCgroup reads lines "hierarchy:controllers:path".
func parseCgroup(text string) (cgroup string) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[0] == "0" && fields[1] == "" && fields[2] != "/":
			return fields[2]
		case fields[1] == "name=systemd", fields[0] == "0" && cgroup == "":
			cgroup = fields[2]
		}
	}
	return cgroup
}

// Groups returns the processes of each process group, as far as /proc lists them,
// without those that have ended and that their parents have not asked for yet.
func (fs FS) Groups() map[int][]int {
	groups := map[int][]int{}
	pids, _ := fs.Processes()
	for _, pid := range pids {
		if p, ok := fs.stat(pid); ok && (p.State != 'Z' || len(fs.threads(pid)) > 0) {
			groups[p.Group] = append(groups[p.Group], pid)
		}
	}
	return groups
}
