package sockfile

import (
	"errors"
	"net"
	"os"
	"testing"

	"example.com/reuse/internal/testnet"
)

// A file that cannot be asked is unknown, and the error says why.
func TestUnknown(t *testing.T) {
	t.Chdir(t.TempDir())
	ln, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := errors.Join(os.Chmod(".", 0o755), os.Chmod("socket", 0)); err != nil {
		t.Fatal(err)
	}
	probe := func() {
		if state, err := Probe("socket"); state != Unknown || !errors.Is(err, os.ErrPermission) {
			t.Errorf("%v, %v, want unknown and why", state, err)
		}
	}
	if os.Getuid() == 0 {
		testnet.As(t, first, probe)
	} else {
		probe()
	}
}
