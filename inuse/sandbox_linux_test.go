package inuse_test

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// boundExplainer is explainer where something is missing: "pidfd_getfd", which a
// sandbox refuses, or a /proc of the kind that BehindProc takes. The second argument
// is its user.
func boundExplainer(args []string) error {
	var err error
	switch args[0] {
	case "pidfd_getfd":
		_, err = testnet.Seccomp(0, []unix.SockFilter{
			{Code: 0x20, K: 0}, // the number of the system call
			{Code: 0x15, K: unix.SYS_PIDFD_GETFD, Jf: 1},
			{Code: 0x06, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: 0x06, K: unix.SECCOMP_RET_ALLOW},
		})
	case "":
	default:
		err = testnet.BehindProc(args[0])
	}
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(args[1])
	if err == nil && uid != 0 {
		// Group 0 would see all processes. Package unix changes one thread.
		err = errors.Join(syscall.Setgroups(nil), syscall.Setresgid(uid, uid, uid), syscall.Setresuid(uid, uid, uid))
	}
	if err != nil {
		return err
	}
	return explainer(args[2:])
}

// What Explain cannot see, it says; what it can, it still tells.
func TestExplainBoundBySandbox(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	const user = 65534
	hold(t, user, "listen", "127.0.0.1:9999", testnet.ReusePort)
	for _, test := range []struct {
		missing    string
		uid        int
		begin, say string
	}{
		{"", 0, "other-user 1 0 ", "shares it with SO_REUSEPORT"}, // the control
		{"pidfd_getfd", 0, "listener 1 1 ", "not seen: socket options: pidfd_getfd: operation not permitted"},
		{"none", 0, "hidden 1 1 ", "not seen: processes: /proc lists no process"},
		{"readonly", 0, "other-user 1 0 ", "shares it with SO_REUSEPORT"},
		{"hidepid", 0, "other-user 1 0 ", "shares it with SO_REUSEPORT"}, // root sees all
		{"hidepid", 65533, "hidden 1 1 ", "not seen: processes of other users: /proc hides them (hidepid)"},
	} {
		line := testnet.Start(t, 0, "boundExplainer", test.missing, strconv.Itoa(test.uid), "1", "tcp", "127.0.0.1:9999").Line(t)
		if !strings.HasPrefix(line, test.begin) || !strings.Contains(line, test.say) {
			t.Errorf("%s: %q, want %q and %q", test.missing, line, test.begin, test.say)
		}
	}
}
