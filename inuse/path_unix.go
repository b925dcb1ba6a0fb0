//go:build aix || darwin || dragonfly || freebsd || linux || netbsd || openbsd || solaris

package inuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/reuse/internal/sockfile"
	"golang.org/x/sys/unix"
)

// findPath explains why a unix socket's address cannot be bound. It goes by what is at the
// path now, and by the error only where that does not tell.
func (a attempt) findPath(ctx context.Context, me asker) *finding {
	f := a.because(CauseUnknown, facts{"me": me.name})
	f.asker, f.now = me, time.Now()
	isFile, n := sockfile.IsFile(a.path), len(a.path)
	if !isFile {
		n-- // for the NUL in front
	}
	if n > maxPath {
		f.cause = CausePathTooLong
		f.facts["n"], f.facts["max"] = fmt.Sprint(n), fmt.Sprint(maxPath)
		return f
	}
	if !isFile {
		if a.refusal != refusedInUse {
			return nil
		}
		return f.held(a.pathHolders(ctx, a.path), sockfile.Unknown) // path_linux.go, path_bsd.go
	}
	path, err := filepath.Abs(a.path)
	if err != nil {
		return nil
	}
	f.facts["path"], f.facts["old"] = path, path+".old"
	info, err := os.Lstat(path)
	switch {
	case err == nil && a.refusal == refusedInUse:
		return f.findFile(ctx, path, info)
	case err == nil:
		return nil // it was made since
	}
	why := f.findDirectory(path)
	if why == nil && a.refusal == refusedInUse {
		f.cause = CauseFree
		return f
	}
	return why
}

// findDirectory explains that no file can be made at path.
func (f *finding) findDirectory(path string) *finding {
	dir := filepath.Dir(path)
	f.facts["dir"] = dir
	// The last directory of the path that is there, and the name below it.
	last, below := dir, path
	info, err := os.Stat(last)
	for err != nil && last != filepath.Dir(last) {
		last, below = filepath.Dir(last), last
		info, err = os.Stat(last)
	}
	if err != nil {
		return nil
	}
	mayNot := writable(last) // refusal_unix.go
	_, err = os.Lstat(below)
	link, _ := os.Readlink(below)
	switch {
	case !info.IsDir():
		f.cause = CauseNoDirectory
		f.facts["missing"] = fmt.Sprintf("%s is %s, not a directory", last, kindOf(info.Mode()))
		f.facts["path"], f.facts["old"] = last, last+".old"
		f.facts["file"] = ""
		f.may = mayRemove(f.asker, last, info)
	case errors.Is(err, fs.ErrPermission), errors.Is(mayNot, unix.EACCES):
		f.denied(last, info)
	case last != dir && link != "": // which leads to nothing
		if !filepath.IsAbs(link) {
			link = filepath.Join(last, link)
		}
		f.cause = CauseNoDirectory
		f.facts["dir"] = link + strings.TrimPrefix(dir, below)
	case errors.Is(mayNot, unix.EROFS):
		f.cause = CauseFileSystem
		f.facts["fs"] = "is read-only"
	case last != dir:
		f.cause = CauseNoDirectory
		f.may = mayNot == nil
	case errors.Is(f.attempt.err, unix.EOPNOTSUPP), errors.Is(f.attempt.err, unix.EPERM) && socketless(last): // socketless_linux.go, socketless_other.go
		f.cause = CauseFileSystem
		f.facts["fs"] = "has no sockets"
	case f.attempt.refusal == refusedNotPermitted:
		return f.attempt.forbidden(f.asker) // rights_linux.go, rights_other.go
	default:
		return nil
	}
	return f
}

// denied explains that nothing can be made in a directory.
func (f *finding) denied(dir string, info fs.FileInfo) {
	user, mode := ownerOf(info), modeOf(info.Mode())
	f.cause = CauseDirectoryDenied
	f.facts["dir"], f.facts["owner"], f.facts["mode"] = dir, user, user+", "+mode[1:]
	f.file = fmt.Sprintf("%s %s, user %s", mode, dir, user)
}

// findFile explains that there is a file at path.
func (f *finding) findFile(ctx context.Context, path string, info fs.FileInfo) *finding {
	f.file = strings.Join([]string{modeOf(info.Mode()), "user " + ownerOf(info), age(path, info, f.now)}, ", ")
	f.may = mayRemove(f.asker, path, info)
	if info.Mode().Type() != fs.ModeSocket {
		f.cause = CauseNotSocket
		f.facts["what"] = kindOf(info.Mode())
		if info.IsDir() && isEmpty(path) {
			f.facts["empty"] = ""
			if name := filepath.Base(path); strings.HasSuffix(name, ".sock") || strings.HasSuffix(name, ".socket") {
				f.why = "docker run -v makes such a directory if the path does not exist when it runs."
			}
		}
		if to, err := os.Readlink(path); err == nil {
			f.facts["what"] = "a symbolic link to " + to
		}
		if old := path + ".old"; info.Mode().IsRegular() && f.may {
			if _, err := os.Lstat(old); errors.Is(err, fs.ErrNotExist) {
				f.facts["old"], f.facts["movable"] = old, ""
			}
		}
		f.sticky(path, info)
		return f
	}
	state, err := sockfile.Probe(path)
	switch state {
	case sockfile.Gone:
		f.cause, f.file = CauseFree, ""
		return f
	case sockfile.Stale:
		f.cause = CauseStale
		f.sticky(path, info)
		return f
	case sockfile.NotSocket:
		return nil // it has changed
	}
	if state == sockfile.Unknown && errors.Is(err, errors.ErrUnsupported) {
		f.unseen = append(f.unseen, strings.TrimSuffix(err.Error(), ": "+errors.ErrUnsupported.Error()))
	}
	found := f.attempt.pathHolders(ctx, path)
	if len(found.holders) == 0 && state == sockfile.Live {
		// Its socket is one of this host, though it is not known whose.
		h := Holder{Network: f.attempt.network, Path: f.attempt.name(), Count: 1, UID: -1, unit: unit{user: -1}}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			h.UID, h.User = int(stat.Uid), username(stat.Uid)
		}
		found.holders = []Holder{h}
	}
	f.held(found, state)
	if f.cause == CauseStalePerhaps {
		f.sticky(path, info)
	} else {
		f.file = ""
	}
	return f
}

// Path holders are the sockets that have a path.
type pathHolders struct {
	holders   []Holder
	sight     sight
	err       error // why not all sockets could be read
	elsewhere bool  // they are not of this process's network namespace
	unseen    []string
}

// held tells of those who have the path.
func (f *finding) held(found pathHolders, state sockfile.State) *finding {
	f.holders, f.sight = found.holders, found.sight
	f.unseen = append(f.unseen, found.unseen...)
	var processes []Process
	for _, h := range found.holders {
		processes = append(processes, h.Processes...)
	}
	switch {
	case len(found.holders) == 0 && found.err != nil:
		f.cause = CauseUnknown
		f.facts["what"] = fmt.Sprintf("not all sockets could be read (%v)", found.err)
	case len(found.holders) == 0 && !sockfile.IsFile(f.attempt.path):
		f.cause = CauseFree
	case len(found.holders) == 0:
		f.cause = CauseStalePerhaps
	case slices.ContainsFunc(processes, func(p Process) bool { return p.PID == os.Getpid() }):
		f.cause = CauseSelf
		f.facts["self"] = alreadyOurs
	case found.elsewhere:
		f.cause = CauseOtherNetns
		if len(processes) == 0 {
			f.facts["by"] = "a process of another network namespace, such as a container's"
		}
	case len(processes) == 0 && found.holders[0].UID >= 0:
		f.cause = CauseHidden
	case len(processes) > 1:
		f.cause = CauseInherited
	case found.holders[0].State == "CLOSE" && found.holders[0].Network != "unixgram":
		f.cause = CauseBound
	default:
		f.cause = CauseListener
	}
	return f
}

// sticky says who may remove a file if that is not the asker, though the directory is open
// to all.
func (f *finding) sticky(path string, info fs.FileInfo) {
	dir, err := os.Stat(filepath.Dir(path))
	if err == nil && dir.Mode()&fs.ModeSticky != 0 && !f.asker.root && !f.may {
		f.hints = append(f.hints, fmt.Sprintf("only root and the owner may remove it: %s is sticky", filepath.Dir(path)))
	}
}

// mayRemove reports whether the asker may remove or rename the file at path.
func mayRemove(me asker, path string, info fs.FileInfo) bool {
	dir := filepath.Dir(path)
	if writable(dir) != nil {
		return false
	}
	above, err := os.Stat(dir)
	if err != nil || above.Mode()&fs.ModeSticky == 0 || me.root {
		return err == nil
	}
	for _, i := range []fs.FileInfo{info, above} {
		if stat, ok := i.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == me.uid {
			return true
		}
	}
	return false
}

// isEmpty reports whether a directory is empty.
func isEmpty(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return false
	}
	defer dir.Close()
	_, err = dir.Readdirnames(1)
	return err == io.EOF
}

// age says when a file was made.
func age(path string, info fs.FileInfo, now time.Time) string {
	at, what := created(path), "created" // path_linux.go, path_bsd.go
	if at.IsZero() {
		at = info.ModTime()
		if info.Mode().Type() != fs.ModeSocket { // which does not change
			what = "changed"
		}
	}
	return what + " " + ago(now.Sub(at)) + " ago"
}

// ownerOf returns the name of a file's owner, or its number.
func ownerOf(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "?"
	}
	return cmp.Or(username(stat.Uid), fmt.Sprint(stat.Uid))
}

// kinds are the types of files.
var kinds = []struct {
	mode   fs.FileMode
	letter string
	name   string
}{
	{fs.ModeDir, "d", "a directory"},
	{fs.ModeSymlink, "l", "a symbolic link"},
	{fs.ModeSocket, "s", "a socket"},
	{fs.ModeNamedPipe, "p", "a named pipe"},
	{fs.ModeDevice | fs.ModeCharDevice, "c", "a device"},
	{fs.ModeDevice, "b", "a device"},
	{0, "-", "a file"},
}

// kindOf returns what a file is.
func kindOf(mode fs.FileMode) string {
	for _, k := range kinds {
		if mode.Type() == k.mode {
			return k.name
		}
	}
	return "something else"
}

// modeOf returns the mode of a file as ls(1) does.
func modeOf(mode fs.FileMode) string {
	s := []byte("?" + mode.Perm().String()[1:])
	for _, k := range kinds {
		if mode.Type() == k.mode {
			s[0] = k.letter[0]
		}
	}
	for _, special := range []struct {
		bit             fs.FileMode
		at              int
		with, otherwise byte
	}{{fs.ModeSetuid, 3, 's', 'S'}, {fs.ModeSetgid, 6, 's', 'S'}, {fs.ModeSticky, 9, 't', 'T'}} {
		if mode&special.bit != 0 {
			if s[special.at] == 'x' {
				s[special.at] = special.with
			} else {
				s[special.at] = special.otherwise
			}
		}
	}
	return string(s)
}
