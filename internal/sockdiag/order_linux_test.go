package sockdiag

import (
	"runtime"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// The byte order is found in the table, also where the loopback interface is
// down.
func TestProcOrder(t *testing.T) {
	same := func() {
		t.Helper()
		order, err := procOrder()
		want := orderOf((native.Uint16([]byte{0, 1}) == 1) != *emulated)
		if err != nil || order.Uint16([]byte{0, 1}) != want.Uint16([]byte{0, 1}) {
			t.Errorf("%v, %v, want %v", order, err, want)
		}
	}
	before := testnet.Descriptors(t)
	same()
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err == nil {
		same() // although the loopback interface is down
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
