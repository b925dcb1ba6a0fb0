package inuse

import "golang.org/x/sys/unix"

// socketless reports whether the file system of a directory is one that has no sockets, and
// says EPERM of them.
func socketless(dir string) bool {
	var stat unix.Statfs_t
	if unix.Statfs(dir, &stat) != nil {
		return false
	}
	const vboxsf = 0x786f4256
	switch uint32(stat.Type) {
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, vboxsf, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.SECURITYFS_MAGIC, unix.PROC_SUPER_MAGIC:
		return true
	}
	return false
}
