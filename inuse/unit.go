package inuse

import (
	"path"
	"strconv"
	"strings"
)

// A unit is what manages the processes of a cgroup: a unit of systemd, or a container.
type unit struct {
	name      string // "nginx.service", "ssh.socket"; "" if there is none
	user      int    // whose manager has the unit; -1 for the system's
	container string // its id or name
	kind      string // of container: "docker", "podman", "cri", "lxc", "machine"
}

// neverStop are units whose stop would take more than one server.
var neverStop = map[string]bool{"docker.service": true, "containerd.service": true, "podman.service": true}

// containers are the kinds of containers, by the beginning of the names of their scopes.
var containers = []struct{ prefix, suffix, kind string }{
	{"docker-", ".scope", "docker"},
	{"libpod-", ".scope", "podman"},
	{"libpod-conmon-", ".scope", "podman"},
	{"cri-containerd-", ".scope", "cri"},
	{"crio-", ".scope", "cri"},
	{"machine-", ".scope", "machine"},
	{"lxc.payload.", "", "lxc"},
}

// unitOf returns what manages a cgroup, by its path: the last part of it that tells.
func unitOf(cgroup string) unit {
	u := unit{user: -1}
	above := ""
	for part := range strings.SplitSeq(cgroup, "/") {
		switch suffix := path.Ext(part); {
		case above == "docker" && isContainerID(part):
			u = unit{user: -1, container: part, kind: "docker"}
		case strings.HasPrefix(above, "pod") && isContainerID(part):
			u = unit{user: -1, container: part, kind: "cri"}
		case strings.HasPrefix(part, "user@") && suffix == ".service":
			u.name = ""
			if uid, err := strconv.Atoi(strings.TrimSuffix(part[len("user@"):], suffix)); err == nil {
				u.user = uid
			}
		case suffix == ".service", suffix == ".socket":
			u.name = unescapeUnit(part)
		case suffix == ".scope", strings.HasPrefix(part, "lxc.payload."):
			u.name = ""
			for _, c := range containers {
				name, isOne := strings.CutPrefix(part, c.prefix)
				if name, ends := strings.CutSuffix(name, c.suffix); isOne && ends {
					u.container, u.kind = unescapeUnit(name), c.kind
				}
			}
		}
		above = part
	}
	switch u.kind {
	case "docker", "podman", "cri":
		const short = 12 // as docker ps prints them
		u.container = u.container[:min(short, len(u.container))]
	}
	return u
}

// isContainerID reports whether s is the id of a container, which is a cgroup of its own
// where systemd does not manage them.
func isContainerID(s string) bool {
	const digits = 64
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

// unescapeUnit undoes what systemd does to a name: \x2d for a hyphen, for example.
func unescapeUnit(name string) string {
	var s strings.Builder
	for {
		before, after, found := strings.Cut(name, `\x`)
		s.WriteString(before)
		if !found {
			return s.String()
		}
		if len(after) < 2 {
			s.WriteString(`\x` + after)
			return s.String()
		}
		b, err := strconv.ParseUint(after[:2], 16, 8)
		if err != nil {
			s.WriteString(`\x`)
			name = after
			continue
		}
		s.WriteByte(byte(b))
		name = after[2:]
	}
}

// service returns the unit's name as systemctl takes it, "" if it is not to be stopped.
func (u unit) service() string {
	if neverStop[u.name] || !strings.HasSuffix(u.name, ".service") {
		return ""
	}
	return strings.TrimSuffix(u.name, ".service")
}

// containerName returns "Docker container 4f2a9c1b2d3e", or "".
func (u unit) containerName() string {
	if u.container == "" {
		return ""
	}
	return map[string]string{"docker": "Docker container ", "podman": "Podman container ", "cri": "Kubernetes container ",
		"lxc": "LXC container ", "machine": "container "}[u.kind] + u.container
}
