//go:build darwin || dragonfly || freebsd

package sockfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// sharedBy returns the name of path's file system if it is not a local one.
func sharedBy(path string) (name string, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if stat.Flags&unix.MNT_LOCAL != 0 {
		return "", nil
	}
	return unix.ByteSliceToString(stat.Fstypename[:]), nil
}
