package procfs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lookInRings adds the fixed files of each io_uring that was seen (io_uring_register(2)):
// sockets that a process has without a descriptor of its own.
func (o *Owners) lookInRings(fs FS, inodes map[uint32]bool) {
	for _, ring := range o.rings {
		for _, inode := range fs.fixedFiles(ring) {
			if inodes[inode] {
				o.Found[inode] = append(o.Found[inode], Descriptor{PID: ring.PID, FD: -1, Thread: ring.Thread})
			}
		}
	}
	o.rings = nil
}

// fixedFiles returns the inodes of the sockets among the fixed files.
func (fs FS) fixedFiles(ring Descriptor) []uint32 {
	// While a thread enters the io_uring the kernel leaves them out, so that the
	// reader does not wait (io_uring_show_fdinfo).
	const tries = 10
	for range tries {
		text, err := os.ReadFile(filepath.Join(fs.table(ring, "fdinfo"), strconv.Itoa(ring.FD)))
		if err != nil {
			return nil
		}
		if inodes, complete := parseFixedFiles(string(text)); complete {
			return inodes
		}
	}
	return nil
}

// parseFixedFiles reads the lines "number: file" below "UserFiles: count". They are not
// complete if there are none of them although there are files.
func parseFixedFiles(fdinfo string) (inodes []uint32, complete bool) {
	_, files, found := strings.Cut(fdinfo, "UserFiles:")
	if !found {
		return nil, false
	}
	head, files, _ := strings.Cut(files, "\n")
	count, _ := strconv.Atoi(strings.TrimSpace(head))
	lines := 0
	for line := range strings.Lines(files) {
		number, file, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if _, err := strconv.Atoi(number); err != nil {
			break
		}
		lines++
		if inode, ok := socketInode(file); ok {
			inodes = append(inodes, inode)
		}
	}
	return inodes, lines > 0 || count == 0
}
