//go:build long

package sockfile

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestKilledAnywhere(t *testing.T) {
	killedAt(t, map[string]int{"fchown": unix.SYS_FCHOWN, "fchmod": unix.SYS_FCHMOD, "linkat": unix.SYS_LINKAT, "flock": unix.SYS_FLOCK})
}
