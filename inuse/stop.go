package inuse

import (
	"fmt"
	"slices"
	"strings"
)

// stop returns what ends the holders: one remedy that ends all of them or, of a single
// process, up to two. That a supervisor, a service or a container is stopped rather
// than its process is because these start it again.
func (f *finding) stop() []Remedy {
	var culprits []culprit
	stopped := map[string]bool{}
	add := func(c culprit) {
		rs := f.stopOne(c)
		if len(rs) > 0 && rs[0].Command != "" {
			if stopped[rs[0].Command] {
				return // what stops another one stops this, too
			}
			stopped[rs[0].Command] = true
		}
		culprits = append(culprits, c)
	}
	for _, h := range f.holders {
		for _, p := range h.Processes {
			add(culprit{holder: h, process: p, unit: p.unit})
		}
		if len(h.Processes) == 0 && (h.unit.name != "" || h.unit.container != "") {
			add(culprit{holder: h, unit: h.unit})
		}
	}
	switch len(culprits) {
	case 0:
		return nil
	case 1:
		return f.stopOne(culprits[0])
	}
	if r, ok := f.stopSocketUnit(culprits); ok {
		return []Remedy{r}
	}
	return f.stopAll(culprits)
}

// A culprit is a process to be stopped, or what manages it.
type culprit struct {
	holder  Holder
	process Process // zero if it is not seen
	unit    unit
}

// isSystemd reports whether p is systemd, which listens for socket units.
func (p Process) isSystemd() bool { return p.Command == "systemd" }

// isProxy reports whether p listens for containers.
func (p Process) isProxy() bool { return p.isDocker() || p.isPodman() }

func (p Process) isDocker() bool {
	return slices.Contains([]string{"docker-proxy", "dockerd", "rootlesskit", "com.docker.backend"}, p.Command)
}

func (p Process) isPodman() bool {
	return slices.Contains([]string{"conmon", "rootlessport", "pasta", "pasta.avx2", "slirp4netns", "gvproxy"}, p.Command)
}

// stopOne returns what stops t alone: the first that fits.
func (f *finding) stopOne(t culprit) []Remedy {
	p := t.process
	with := func(more facts) facts {
		all := facts{}
		for k, v := range f.facts {
			all[k] = v
		}
		all["pid"] = fmt.Sprint(p.PID)
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	one := func(kind string, more facts) []Remedy { return f.remedies(with(more), t.holder.UID, kind) }
	service := t.unit.service()
	managers, known := t.unit.managed(f.asker)
	switch {
	case len(managers) > 0:
		return f.remedies(with(known), t.holder.UID, managers...)
	case p.isSystemd() && p.PID != 1 && p.uid != f.asker.uid:
		return one("stop-users-socket", facts{"user": t.holder.userName(p.uid)})
	case p.isSystemd():
		if r, ok := f.stopSocketUnit([]culprit{t}); ok {
			return []Remedy{r}
		}
		if p.PID == 1 {
			return one("stop-listed-socket", nil)
		}
		return one("stop-user-socket", nil)
	case p.isProxy() && f.trusts(p.uid) || !p.isProxy() && t.unit.container != "" && !f.asker.container && (t.unit.user < 0 || t.unit.user == f.asker.uid):
		return f.stopContainer(t, one)
	case service != "" && strings.HasPrefix(service, "snap."):
		name := strings.TrimPrefix(service, "snap.")
		return one("stop-snap", facts{"unit": name})
	case service != "" && t.unit.user >= 0 && t.unit.user != f.asker.uid:
		return one("stop-others-service", facts{"unit": service, "user": t.holder.userName(t.unit.user)})
	case service != "" && t.unit.user >= 0:
		return one("stop-user-service", facts{"unit": service})
	case service != "":
		return one("stop-service", facts{"unit": service})
	case p.PID == 0:
		return nil
	case p.supervised != "" && f.trusts(p.manager):
		rs := one("stop-supervised", facts{"supervisor": p.Supervisor})
		rs[0].Command = p.supervised
		if p.Supervisor == "pm2" { // each user has one of its own
			rs[0].NeedsRoot = !f.asker.root && p.uid != f.asker.uid
		}
		return rs
	case p.State == "stopped" && p.terminal != "":
		return f.remedies(with(facts{"tty": p.terminal}), t.holder.UID, "resume-and-stop", "foreground")
	case p.State == "stopped":
		return one("resume-and-stop", nil)
	case p.State == "traced":
		return one("kill-traced", facts{"tracer": fmt.Sprintf("%s (pid %d)", p.tracerName, p.Tracer)})
	case p.parentName != "":
		return f.remedies(with(facts{"parent": p.parentName, "ppid": fmt.Sprint(p.Parent)}), t.holder.UID, "stop-process", "stop-with-parent")
	case f.cause == CauseOutgoing && t.holder.connection() && t.holder.State != "SYN_SENT":
		return one("stop-client", nil)
	case f.cause == CauseConnection && t.holder.State == "ESTABLISHED":
		// It is this end that closes first, and waits.
		return one("stop-connection", nil)
	}
	return one("stop-process", nil)
}

// trusts reports whether what a process of a user says of itself may lead to a command of
// the asker's: another user could make him stop what is not his.
func (f *finding) trusts(uid int) bool { return uid == 0 || uid == f.asker.uid }

// stopContainer returns what stops a container.
func (f *finding) stopContainer(t culprit, one func(string, facts) []Remedy) []Remedy {
	kind := t.containerKind()
	if kind == "stop-publisher" && !f.asker.docker {
		kind = "look-as-root" // which finds the container
	}
	rs := one(kind, facts{"container": t.unit.container})
	switch {
	case f.asker.root:
	case kind == "stop-container":
		rs[0].NeedsRoot = !f.asker.docker
	case t.process.isPodman():
		rs[0].NeedsRoot = t.process.uid != f.asker.uid
	}
	return rs
}

// containerKind returns the remedy for a container.
func (t culprit) containerKind() string {
	known := t.unit.container != ""
	switch {
	case t.process.isPodman() && !known:
		return "find-podman"
	case !known:
		return "stop-publisher"
	}
	switch t.unit.kind {
	case "podman":
		return "stop-podman"
	case "cri":
		return "delete-pod"
	case "lxc":
		return "stop-lxc"
	case "machine":
		return "stop-machine"
	}
	return "stop-container"
}

// stopSocketUnit returns what stops the socket unit that systemd has and the services
// that got its socket. It is not ok if there is no such unit.
func (f *finding) stopSocketUnit(culprits []culprit) (_ Remedy, ok bool) {
	var units []string
	for _, t := range culprits {
		if t.process.isSystemd() && strings.HasSuffix(t.unit.name, ".socket") && !slices.Contains(units, t.unit.name) {
			units = append(units, t.unit.name)
		}
	}
	if len(units) == 0 {
		return Remedy{}, false
	}
	and, command := "", "systemctl stop"
	for _, t := range culprits {
		if service := t.unit.service(); service != "" {
			units, and = append(units, t.unit.name), " and its service"
		}
	}
	for _, u := range units {
		word, fits := quote(u)
		if !fits {
			return Remedy{}, false
		}
		command += " " + word
	}
	r := f.remedies(facts{"and": and}, 0, "stop-socket-unit")[0]
	r.Command = command
	return r, true
}

// stopAll returns what stops several culprits.
func (f *finding) stopAll(culprits []culprit) []Remedy {
	const most, width = 4, 90
	all := "all of them, as each keeps it"
	switch n := len(culprits); {
	case n == 2:
		all = "both, as either keeps it"
	case n > most && len(f.holders) == 1 && f.holders[0].group != 0:
		return f.remedies(facts{"pgid": fmt.Sprint(f.holders[0].group)}, f.holders[0].UID, "stop-group")
	case n > most:
		all = fmt.Sprintf("all %d processes that have it", n)
	}
	r := f.remedies(facts{"all": all}, 0, "stop-all")[0]
	var commands, pids, stopped []string
	flush := func() {
		if len(pids) > 0 {
			commands = append(commands, "kill "+strings.Join(pids, " "))
		}
		if len(stopped) > 0 {
			commands = append(commands, "kill -CONT "+strings.Join(stopped, " "))
		}
		pids, stopped = nil, nil
	}
	for _, t := range culprits {
		one := f.stopOne(t)
		switch {
		case len(one) == 0 || one[0].Command == "":
			return []Remedy{r}
		case slices.Contains([]string{"stop-process", "stop-client", "stop-connection", "resume-and-stop"}, one[0].Kind):
			pids = append(pids, fmt.Sprint(t.process.PID))
			if one[0].Kind == "resume-and-stop" {
				stopped = append(stopped, fmt.Sprint(t.process.PID))
			}
		default:
			flush()
			commands = append(commands, one[0].Command)
		}
		r.NeedsRoot = r.NeedsRoot || one[0].NeedsRoot
	}
	flush()
	if command := strings.Join(commands, " && "); len(culprits) <= most || len(command) <= width {
		r.Command = command
	}
	return []Remedy{r}
}
