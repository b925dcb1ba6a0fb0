//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sockfile

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// remove removes a stale file under a lock. Between the probe and the removal
// another starter could have put its own file there. A starter that finds the lock
// taken has lost: its holder is about to have the path.
//
// While bind runs there is a file, and its socket is not found yet. Newer Linux
// kernels keep the directory locked until that is over (unix_bind_bsd:
// done_path_create), so a file that was there before the lock file was made has
// been bound since. On others it is left alone until it is older than any bind
// should take.
func remove(path string) (State, error) {
	found, err := os.Lstat(path)
	if err != nil {
		return missing(err)
	}
	if state, err := probe(path); state != Stale {
		return state, err
	}
	unlock, err := lock(path)
	if err != nil {
		return Stale, err
	}
	if unlock == nil {
		return Live, nil
	}
	defer unlock()
	const bindTime, coarsest = 50 * time.Millisecond, 2 * time.Second // of file systems' times
	if time.Since(found.ModTime()) < bindTime+coarsest {
		time.Sleep(bindTime)
	}
	if state, err := probe(path); state != Stale {
		return state, err
	}
	now, err := os.Lstat(path)
	switch {
	case err != nil:
		return missing(err)
	case !os.SameFile(found, now) || !found.ModTime().Equal(now.ModTime()):
		return Live, nil // it has just been bound
	}
	// Not os.Remove, which removes an empty directory as well.
	if err := unix.Unlink(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Stale, &os.PathError{Op: "unlink", Path: path, Err: err}
	}
	return Gone, nil
}
