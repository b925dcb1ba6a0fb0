package inuse

import (
	"fmt"
	"slices"
)

// name gives holders their names and causes.
func (f *finding) name() {
	for i := range f.holders {
		h := &f.holders[i]
		if h.cause == "" {
			h.cause = f.cause
		}
		if h.Name == "" {
			h.Name = h.nameOf()
		}
		if len(h.Processes) > 0 {
			h.unit = h.Processes[0].unit
		}
		h.Unit, h.Container = h.unit.name, h.unit.containerName()
	}
}

func (h Holder) nameOf() string {
	switch {
	case len(h.Processes) > 0:
		return h.Processes[0].Name
	case h.connection() && h.cause != CauseOutgoing:
		return "a connection"
	case h.cause == CauseNoProcess || h.cause == CauseKernel:
		return "a socket"
	}
	return "a process"
}

// by says who the holders are, in a headline.
func (f *finding) by() string {
	var all []string
	add := func(name string) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	for _, h := range f.holders {
		const most = 3
		switch {
		case len(h.Processes) > most:
			what := "others"
			if first := h.Processes[0].PID; !slices.ContainsFunc(h.Processes[1:], func(p Process) bool { return p.Parent != first }) {
				what = "processes that it started"
			}
			add(fmt.Sprintf("%s and %d %s", h.Processes[0].Name, len(h.Processes)-1, what))
		case len(h.Processes) > 0:
			for _, p := range h.Processes {
				add(p.title(len(f.holders) == 1 && len(h.Processes) == 1))
			}
		case h.unit.name != "":
			add(h.unit.name)
		case h.cause == CauseOutgoing && h.owner() != "":
			add(h.Name + " of " + h.owner())
		default:
			add(h.Name)
		}
	}
	switch len(all) {
	case 0:
		return "a process"
	case 1:
		return all[0]
	case 2:
		return all[0] + " and " + all[1]
	}
	return fmt.Sprintf("%s and %d others", all[0], len(all)-1)
}

// title says who p is, in a headline.
func (p Process) title(alone bool) string {
	container := map[string]string{"docker": "a Docker container", "podman": "a Podman container", "cri": "a Kubernetes container",
		"lxc": "an LXC container", "machine": "a container"}[p.unit.kind]
	switch {
	case p.isDocker():
		return "a Docker container"
	case p.isPodman() && p.unit.container != "":
		return "the " + p.unit.containerName()
	case p.isPodman():
		return "a Podman container"
	case container != "":
		return p.Name + " in " + container
	case p.isSystemd() && alone:
		return "systemd, for a service that it starts on demand"
	}
	return p.Name
}

// state says what keeps the only process that has the address from ending, or from
// staying away.
func (f *finding) state() string {
	if len(f.holders) != 1 || len(f.holders[0].Processes) != 1 {
		return ""
	}
	switch p := f.holders[0].Processes[0]; {
	case p.supervised != "":
		return "which " + p.Supervisor + " starts again when it ends"
	case p.State == "stopped":
		return "which is suspended (as by Ctrl-Z)"
	case p.State == "traced":
		return fmt.Sprintf("which %s (pid %d) has stopped", p.tracerName, p.Tracer)
	case p.State == "zombie":
		return "whose main thread has ended"
	}
	return ""
}
