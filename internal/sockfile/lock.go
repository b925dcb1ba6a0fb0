//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sockfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock locks the file path.reuse-lock, and makes it if there is none. If another
// process or goroutine has the lock, unlock is nil.
//
// The lock ends with its holder, so a file that a killed process left blocks
// nobody. To this end everybody who may write to the directory may open the file;
// and nobody else may, so that nobody else can lock it.
func lock(path string) (unlock func(), err error) { return lockBy(path, mayChown) }

func lockBy(path string, mayChown func() bool) (unlock func(), err error) {
	name := path + ".reuse-lock"
	for {
		// Not O_CREATE, which fs.protected_regular refuses for the file of
		// another user in a sticky directory.
		f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f, err = create(name, mayChown)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
		case errors.Is(err, fs.ErrPermission):
			err = fmt.Errorf("%w (remove it if none of its owner's processes is about to listen at %s)", err, path)
		}
		if err != nil {
			return nil, err
		}
		opened, err := f.Stat()
		if err == nil && (!opened.Mode().IsRegular() || opened.Size() != 0) {
			err = fmt.Errorf("%s is not this package's lock file", name)
		}
		if err == nil {
			err = os.NewSyscallError("flock", unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
		}
		if err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				err = nil
			}
			return nil, err
		}
		// The former holder may have removed the file in the meantime: a
		// lock on a file that is not there any more keeps nobody out.
		if now, err := os.Lstat(name); err == nil && os.SameFile(opened, now) {
			return func() {
				unix.Unlink(name) // fails for another user's file in a sticky directory
				f.Close()
			}, nil
		}
		f.Close()
	}
}

// create makes a lock file. It gets its name when it has its mode: a process that
// is killed before leaves a file with a random name, which blocks nobody.
func create(name string, mayChown func() bool) (*os.File, error) {
	temporary := fmt.Sprintf("%s-%08x", name, rand.Uint32())
	f, err := createDirectly(temporary, mayChown)
	if err != nil {
		return nil, err
	}
	// Not os.Link, which follows symbolic links on BSD.
	err = unix.Linkat(unix.AT_FDCWD, temporary, unix.AT_FDCWD, name, 0)
	unix.Unlink(temporary)
	if err == nil {
		return f, nil
	}
	f.Close()
	if err == unix.EEXIST {
		return nil, err
	}
	return createDirectly(name, mayChown) // hard links are not supported, or not permitted
}

// createDirectly makes a file that can be opened for writing by those who may
// write to its directory, whatever the umask. Where it may not be given to them, it is
// its maker's alone.
func createDirectly(name string, mayChown func() bool) (*os.File, error) {
	dir, _ := filepath.Split(name)
	info, err := os.Stat(cmp.Or(dir, "."))
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	mode := 0o600 | info.Mode()&0o022
	if owner := info.Sys().(*syscall.Stat_t); !give(f, owner.Uid, owner.Gid, mayChown) {
		mode &^= 0o020
	}
	f.Chmod(mode)
	return f, nil
}

// give gives a file to a user and a group, or else to the group. It reports whether the
// group has it.
func give(f *os.File, uid, gid uint32, mayChown func() bool) bool {
	if info, err := f.Stat(); err == nil {
		has := info.Sys().(*syscall.Stat_t)
		if has.Uid == uid && has.Gid == gid {
			return true
		}
		if !mayChown() {
			return has.Gid == gid
		}
	}
	return f.Chown(int(uid), int(gid)) == nil || f.Chown(-1, int(gid)) == nil
}
