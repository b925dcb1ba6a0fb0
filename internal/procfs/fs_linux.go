package procfs

import (
	"os"
	"path/filepath"
	"strconv"
)

// An FS is a mounted procfs: the name of its directory, "/proc" as a rule.
type FS string

// read returns the text of a file.
func (fs FS) read(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(string(fs), name))
	return string(text), err
}

// process returns the name of a file of a process.
func (fs FS) process(pid int, name string) string {
	return filepath.Join(string(fs), strconv.Itoa(pid), name)
}
