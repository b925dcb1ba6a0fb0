package inuse

import (
	"os"
	"strconv"
	"strings"
)

// username returns the name of a user in /etc/passwd, "" if it is not there. It does
// not ask the system's other sources, which may be a network away.
func username(uid uint32) string {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	return nameIn(string(text), uid)
}

// nameIn returns the name of a user in the text of passwd(5).
func nameIn(passwd string, uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	for line := range strings.Lines(passwd) {
		fields := strings.Split(line, ":")
		if len(fields) > 2 && fields[2] == number {
			return fields[0]
		}
	}
	return ""
}
