package inuse

import (
	"cmp"
	"os"
	"strconv"
	"strings"

	"example.com/reuse/internal/argv"
	"golang.org/x/sys/unix"
)

// newAsker returns what is known of this process.
func newAsker() asker {
	uid, err := proc.SocketUID()
	a := asker{blind: err != nil}
	if a.blind {
		uid = uint32(os.Geteuid())
	}
	a.uid = int(uid)
	a.name = cmp.Or(username(uid), strconv.FormatUint(uint64(uid), 10))
	a.root = uid == 0 && os.Geteuid() == 0 && outermost("user") || proc.Capable(unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH, unix.CAP_KILL) && outermost("user")
	a.container = !outermost("pid")
	a.docker = a.root || unix.Access("/var/run/docker.sock", unix.W_OK) == nil
	return a
}

// outermost reports whether this process is in the first namespace of a kind, whose
// number the kernel has fixed (include/linux/proc_ns.h). Not known is yes.
func outermost(kind string) bool {
	first := map[string]string{"user": "user:[4026531837]", "pid": "pid:[4026531836]"}[kind]
	link, err := os.Readlink(string(proc) + "/self/ns/" + kind)
	return err != nil || link == first
}

// program returns the name of this process's program, as Process.Command has it.
func program() string {
	comm, _ := os.ReadFile(string(proc) + "/self/comm")
	_, name := argv.Name(os.Args, strings.TrimSuffix(string(comm), "\n"))
	return name
}
