//go:build !linux

package inuse

import (
	"cmp"
	"os"
	"strconv"

	"example.com/reuse/internal/argv"
)

// newAsker returns what is known of this process.
func newAsker() asker {
	uid := os.Geteuid() // -1 on Windows
	a := asker{uid: uid, root: uid == 0}
	if uid >= 0 {
		a.name = cmp.Or(username(uint32(uid)), strconv.Itoa(uid))
	}
	return a
}

// program returns the name of this process's program.
func program() string {
	_, name := argv.Name(os.Args, "")
	return name
}
