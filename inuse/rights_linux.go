package inuse

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lowPort reports whether the port takes CAP_NET_BIND_SERVICE, as all below start do
// (inet_bind).
func (a attempt) lowPort() (start int, low bool) {
	start = proc.UnprivilegedPortStart()
	port := int(a.local.Port())
	return start, port != 0 && port < start
}

// notPermitted explains EACCES and EPERM of bind where nobody has the port.
func (a attempt) notPermitted(_ context.Context, me asker) *finding {
	if a.call == "connect" || a.path != "" {
		return nil
	}
	start, low := a.lowPort()
	if !low {
		return a.forbidden(me)
	}
	f := a.because(CausePrivileged, facts{"start": fmt.Sprint(start), "me": me.name})
	f.asker = me
	if outer, inside := outerUser(me.uid); inside {
		f.facts["userns"] = ""
		where := "do it on the host"
		if me.uid == 0 {
			f.facts["me"] = "root of this container"
			where += fmt.Sprintf(", where this root is user %d", outer)
		}
		f.hints = append(f.hints, where)
		return f
	}
	if why := a.noFileRights(); why != "" {
		f.facts["nosuid"] = ""
		f.why = "setcap has no effect " + why + "."
		return f
	}
	f.hints = append(f.hints, "in a systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE")
	return f
}

// forbidden explains that a security policy is in the way.
func (a attempt) forbidden(me asker) *finding {
	f := a.because(CauseForbidden, facts{"me": me.name})
	f.asker = me
	policies := "AppArmor, Landlock, systemd (SocketBindDeny=) or a BPF program"
	if a.path != "" {
		policies = "AppArmor, Landlock, a sandbox or a file system without sockets"
	}
	if text, err := os.ReadFile("/sys/fs/selinux/enforce"); err == nil && strings.TrimSpace(string(text)) == "1" {
		f.facts["selinux"] = ""
	} else {
		f.hints = append(f.hints, "it can be "+policies)
	}
	return f
}

// outerUser reports whether this process is in a user namespace whose capabilities do not
// count for its network namespace, and returns who its user is outside.
func outerUser(uid int) (outer int, inside bool) {
	fd, err := unix.Open(filepath.Join(string(proc), "thread-self/ns/net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	// The kernel shows only namespaces that belong to this one or to one inside of it
	// (ns_get_owner).
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if err == nil {
		unix.Close(owner)
	}
	if err != unix.EPERM {
		return 0, false
	}
	text, err := os.ReadFile(filepath.Join(string(proc), "thread-self/uid_map"))
	if err != nil {
		return uid, true
	}
	return mapped(string(text), uid), true
}

// mapped returns what a user is outside, by the lines "inside outside count" of uid_map.
func mapped(uidMap string, uid int) int {
	for line := range strings.Lines(uidMap) {
		var inside, outside, count int
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && inside <= uid && uid < inside+count {
			return outside + uid - inside
		}
	}
	return uid
}

// noFileRights returns why a program gets no capabilities from its file, "" if it does: from
// this process's file or, for somebody who asks for a server, from one in this directory.
func (a attempt) noFileRights() string {
	file := "."
	if !a.check {
		file = filepath.Join(string(proc), "self/exe")
		status, _ := os.ReadFile(filepath.Join(string(proc), "thread-self/status"))
		if why := noRights(string(status)); why != "" {
			return why
		}
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(file, &stat); err != nil || stat.Flags&unix.ST_NOSUID == 0 {
		return ""
	}
	mount := mountOf(file)
	if mount == "" {
		return "on a file system that is mounted nosuid"
	}
	return "on " + mount + ", which is mounted nosuid"
}

// noRights looks for why a process can gain no rights, in /proc/PID/status.
func noRights(status string) string {
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "NoNewPrivs":
			if value == "1" {
				return "here, as this process may not gain rights (no_new_privs)"
			}
		case "CapBnd":
			if set, err := strconv.ParseUint(value, 16, 64); err == nil && set&(1<<unix.CAP_NET_BIND_SERVICE) == 0 {
				return "here, as the right is taken from this process and all that it starts (capability bounding set)"
			}
		}
	}
	return ""
}

// mountOf returns the directory on which the file system of a file is mounted, or "".
func mountOf(file string) string {
	name, err := filepath.EvalSymlinks(file)
	if err == nil {
		name, err = filepath.Abs(name)
	}
	if err != nil {
		return ""
	}
	mount := func(name string) (uint64, bool) {
		var stat unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &stat)
		return stat.Mnt_id, err == nil && stat.Mask&unix.STATX_MNT_ID != 0
	}
	id, ok := mount(name)
	if !ok {
		return ""
	}
	for name != "/" {
		parent := filepath.Dir(name)
		if above, ok := mount(parent); !ok || above != id {
			break
		}
		name = parent
	}
	return name
}
