package sockfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// shared has the file systems, by statfs's f_type, whose files another kernel can
// have at the same time. One of its sockets looks like a stale one here. Those
// without a constant are not in the kernel's sources, or not in its
// include/uapi/linux/magic.h.
var shared = map[uint32]string{
	unix.AFS_FS_MAGIC:       "afs",
	unix.AFS_SUPER_MAGIC:    "afs",
	unix.CEPH_SUPER_MAGIC:   "ceph",
	unix.CIFS_SUPER_MAGIC:   "cifs",
	unix.CODA_SUPER_MAGIC:   "coda",
	unix.FUSE_SUPER_MAGIC:   "fuse or virtiofs",
	unix.HOSTFS_SUPER_MAGIC: "hostfs",
	unix.NCP_SUPER_MAGIC:    "ncpfs",
	unix.NFS_SUPER_MAGIC:    "nfs",
	unix.OCFS2_SUPER_MAGIC:  "ocfs2",
	unix.SMB_SUPER_MAGIC:    "smb",
	unix.SMB2_SUPER_MAGIC:   "smb",
	unix.V9FS_MAGIC:         "9p",
	0x01161970:              "gfs2",
	0x013111a8:              "ibrix",
	0x0bd00bd0:              "lustre",
	0x19830326:              "beegfs",
	0x20030528:              "orangefs",
	0x47504653:              "gpfs",
	0x61636673:              "acfs",
	0x786f4256:              "vboxsf",
	0x7c7c6013:              "prl_fs",
	0xa501fcf5:              "vxfs",
	0xaad7aaea:              "panfs",
	0xbacbacbc:              "vmhgfs",
	0xbeefdead:              "snfs",
}

// sharedBy returns the name of path's file system if it is a shared one.
func sharedBy(path string) (name string, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return "", &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return shared[uint32(stat.Type)], nil
}
