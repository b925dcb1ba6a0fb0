//go:build unix

package inuse

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"strings"
	"time"

	"example.com/reuse/internal/argv"
)

// A census is what ps and launchd tell of processes.
type census struct {
	system string // runtime.GOOS
	lines  map[int]psLine
	labels map[int]string // of the jobs of launchd
	asker  asker
	port   uint16
	root   fs.FS // where rc.d is
	now    time.Time
}

// takeCensus asks for all processes. Without ps, there is less to say of them.
func takeCensus(ctx context.Context, system string, me asker, port uint16) census {
	c := census{system: system, asker: me, port: port, root: os.DirFS("/"), now: time.Now()}
	if out, err := ps().run(ctx); err == nil {
		c.lines = parsePs(out)
	}
	if system == "darwin" {
		if out, err := launchctl().run(ctx); err == nil {
			c.labels = parseLaunchctl(out)
		}
	}
	return c
}

// process describes the process that has a socket.
func (c census) process(r row) Process {
	p := Process{PID: r.pid, Command: r.command, Name: r.command, Parent: r.parent, State: "running", unit: unit{user: -1}, uid: r.uid}
	if line, known := c.lines[r.pid]; known {
		name, program := argv.Name(line.argv(r.command), r.command)
		p.Command = cmp.Or(r.command, program)
		p.Name = cmp.Or(name, p.Command)
		p.Parent, p.terminal = line.parent, line.terminal
		if p.uid < 0 {
			p.uid = line.uid
		}
		if line.age >= 0 {
			p.Started = c.now.Add(-line.age)
		}
		if strings.HasPrefix(line.state, "T") {
			p.State = "stopped"
		}
		if parent, known := c.lines[line.parent]; known {
			p.parentName = parent.script()
		}
	}
	p.unit = c.unit(p)
	return p
}

// unit returns what manages p.
func (c census) unit(p Process) unit {
	const first = 1 // launchd, or init
	switch c.system {
	case "darwin":
		switch {
		case isAirPlay(p, c.port):
			return unit{name: "AirPlay Receiver", user: -1, kind: airPlay}
		case p.PID == first:
			return unit{user: -1, kind: launchdSocket}
		}
		return launchdUnit(c.labels[p.PID], c.asker.root)
	case "freebsd", "dragonfly", "netbsd":
		return rcUnit(c.root, p.Command, p.PID)
	}
	return unit{user: -1}
}
