package procfs

import (
	"cmp"
	"context"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A Cgroup is a directory of the cgroup2 hierarchy.
type Cgroup struct {
	Path string // from the root of the hierarchy that this process sees, as in /proc/self/cgroup
	dir  string
}

// FindCgroup returns the cgroup with the id that sock_diag reports, which is its
// directory's inode. It is zero if this process does not see it: cgroup2 is
// not mounted, or the cgroup is outside of the cgroup namespace, or gone.
func (fs FS) FindCgroup(ctx context.Context, id uint64) Cgroup {
	root, mount := fs.cgroupMount()
	if id == 0 || mount == "" {
		return Cgroup{}
	}
	var found Cgroup
	filepath.WalkDir(mount, func(path string, entry iofs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return iofs.SkipAll
		case err != nil:
			return iofs.SkipDir
		case !entry.IsDir():
			return nil
		}
		info, err := os.Lstat(path)
		if err != nil {
			return iofs.SkipDir
		}
		if info.Sys().(*syscall.Stat_t).Ino == id {
			below := strings.Trim(path[len(mount):], "/")
			found = Cgroup{Path: cmp.Or(strings.TrimSuffix(root+"/"+below, "/"), "/"), dir: path}
			return iofs.SkipAll
		}
		return nil
	})
	return found
}

// Processes returns the ids of the processes that are in the cgroup itself.
func (c Cgroup) Processes() []int {
	if c.dir == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(text)) {
		// 0 stands for processes of another pid namespace.
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cgroupMount returns where cgroup2 is mounted, "" if nowhere, and the cgroup that
// is there, "" if it is the root.
func (fs FS) cgroupMount() (root, mount string) {
	text, err := fs.read("thread-self/mountinfo")
	if err != nil {
		return "", ""
	}
	return parseCgroupMount(text)
}

// parseCgroupMount reads lines of "id parent major:minor root mount options … -
// type source options". It prefers a mount of the root to one of a part.
func parseCgroupMount(mountinfo string) (root, mount string) {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		// Not strings.Fields: of white space the kernel escapes ASCII's
		// blank, tab and line break only.
		fields := strings.Split(before, " ")
		kind, _, _ := strings.Cut(after, " ")
		if len(fields) < 5 || kind != "cgroup2" {
			continue
		}
		if fields[3] == "/" {
			return "", unescape(fields[4])
		}
		if mount == "" {
			root, mount = unescape(fields[3]), unescape(fields[4])
		}
	}
	return root, mount
}

// unescape undoes what the kernel does to blanks and backslashes in a path: an
// octal number after a backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
