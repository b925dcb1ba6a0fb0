package sockdiag

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMissing(t *testing.T) {
	c := open1(t)
	// There is no such protocol, as if its module were not loaded.
	_, err := c.Sockets(t.Context(), Request{Protocol: 250})
	if !Missing(err) {
		t.Errorf("%v", err)
	}
	if _, err := c.Sockets(t.Context(), Request{Protocol: unix.IPPROTO_TCP}); err != nil {
		t.Errorf("after that: %v", err)
	}
	for _, err := range []error{unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EPERM, unix.EACCES, unix.ENOSYS, unix.ENOENT} {
		if !Missing(fmt.Errorf("wrapped: %w", os.NewSyscallError("socket", err))) {
			t.Errorf("not missing: %v", err)
		}
	}
	for _, err := range []error{nil, unix.ENOBUFS, unix.EMFILE, unix.ENOMEM, os.ErrDeadlineExceeded, errMalformed} {
		if Missing(err) {
			t.Errorf("missing: %v", err)
		}
	}
}

// Netlink that a seccomp filter refuses is missing, and leaves no descriptor.
func TestRefused(t *testing.T) {
	open1(t)
	for _, errno := range []unix.Errno{unix.EPERM, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ENOSYS} {
		t.Run(errno.Error(), func(t *testing.T) {
			before := testnet.Descriptors(t)
			refuse(t, errno)
			if c, err := Open(); err == nil || !Missing(err) {
				t.Errorf("%+v, %v", c, err)
			}
			if after := testnet.Descriptors(t); after != before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		})
	}
}

// refuse makes the kernel refuse netlink sockets to this goroutine's thread, which
// ends with it.
func refuse(t testing.TB, errno unix.Errno) {
	t.Helper()
	// The first argument is the family or, where sockets have one system call
	// for all, which of these calls it is.
	calls := map[string][2]uint32{"amd64": {41, unix.AF_NETLINK}, "arm64": {198, unix.AF_NETLINK}, "386": {102, 1}, "s390x": {102, 1}}
	call, ok := calls[runtime.GOARCH]
	if !ok {
		t.Skipf("needs the number of socket(2) on %s", runtime.GOARCH)
	}
	first := uint32(16) // seccomp_data.args[0], its low half
	if native.Uint16([]byte{0, 1}) == 1 {
		first += 4
	}
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // seccomp_data.nr
		{Code: equal, Jf: 3, K: call[0]},
		{Code: load, K: first},
		{Code: equal, Jf: 1, K: call[1]},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread() // and never unlocked
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := setFilter(&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		t.Skipf("needs seccomp filters: %v", err)
	}
}
