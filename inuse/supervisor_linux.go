package inuse

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"example.com/reuse/internal/argv"
)

// supervise finds out which supervisor starts p again when it ends, and the command that
// stops it. Between the two there may be processes that have the socket as well, and a
// script, which ends with that command although p does not.
func (o *owners) supervise(ctx context.Context, p *Process, owners map[int]int) {
	const generations = 4
	script := false
	ancestor := p.Parent
	for range generations {
		if ancestor <= 1 {
			return
		}
		a := o.look(ctx, ancestor, 0)
		if name := supervisorName(a); name != "" {
			p.Supervisor, p.supervised, p.manager = name, o.stopSupervised(ctx, name, p.PID, a), a.UID
			if script && p.supervised != "" {
				p.supervised += " && kill " + strconv.Itoa(p.PID)
			}
			return
		}
		if _, isOwner := owners[ancestor]; !isOwner {
			if script || !argv.IsScript(a.args) {
				return
			}
			script = true
		}
		ancestor = a.Parent
	}
}

// supervisorName returns the name of a supervisor, "" of any other process.
func supervisorName(d *details) string {
	switch {
	case d.program == "supervisord", d.name == d.program+" supervisord":
		return "supervisord"
	case strings.HasPrefix(d.Process.Name, "PM2 v") && d.program == "PM2":
		return "pm2"
	case d.program == "runsv", d.program == "s6-supervise":
		return d.program
	}
	return ""
}

// stopSupervised returns the command that stops a process by its supervisor, "" if what
// that calls it is not known.
func (o *owners) stopSupervised(ctx context.Context, supervisor string, pid int, d *details) string {
	const group, process, id = "SUPERVISOR_GROUP_NAME", "SUPERVISOR_PROCESS_NAME", "pm_id"
	switch supervisor {
	case "supervisord":
		env := proc.Environment(ctx, &o.guard, pid, group, process)
		if name, ok := quote(env[group] + ":" + env[process]); ok && env[group] != "" && env[process] != "" {
			return "supervisorctl stop " + name
		}
		return "supervisorctl status"
	case "pm2":
		env := proc.Environment(ctx, &o.guard, pid, id)
		if _, err := strconv.ParseUint(env[id], 10, 32); err == nil {
			return "pm2 stop " + env[id]
		}
		return "pm2 status"
	case "runsv":
		if len(d.args) > 1 {
			if name, ok := quote(path.Base(d.args[1])); ok {
				return "sv stop " + name
			}
		}
	case "s6-supervise":
		if dir, ok := quote(o.serviceDirectory(ctx, d)); ok && dir != "''" {
			return "s6-svc -d " + dir
		}
	}
	return ""
}

// serviceDirectory returns the directory of what s6-supervise starts: its working
// directory or, for who may not know that, the one it was given below that of
// s6-svscan.
func (o *owners) serviceDirectory(ctx context.Context, d *details) string {
	if dir := proc.Directory(d.PID); dir != "" {
		return dir
	}
	if len(d.args) < 2 {
		return ""
	}
	dir := d.args[1]
	if filepath.IsAbs(dir) {
		return dir
	}
	scan := o.look(ctx, d.Parent, 0)
	for _, arg := range slices.Backward(scan.args) {
		if scan.program == "s6-svscan" && filepath.IsAbs(arg) {
			return filepath.Join(arg, dir)
		}
	}
	return ""
}
