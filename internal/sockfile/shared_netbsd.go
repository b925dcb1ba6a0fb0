package sockfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// sharedBy returns the name of path's file system if it is not a local one.
func sharedBy(path string) (name string, err error) {
	var stat unix.Statvfs_t
	if err := unix.Statvfs(path, &stat); err != nil {
		return "", &os.PathError{Op: "statvfs", Path: path, Err: err}
	}
	if stat.Flag&unix.MNT_LOCAL != 0 {
		return "", nil
	}
	return unix.ByteSliceToString(stat.Fstypename[:]), nil
}
