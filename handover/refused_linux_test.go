package handover_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A call that a sandbox may refuse, by the name that it has in errors.
type refusal struct {
	name          string
	number        uint32
	level, option uint32 // its second and third argument; 0 stands for any
}

var refusals = []refusal{
	{"setsockopt SO_ATTACH_REUSEPORT_CBPF", unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF},
	{"setsockopt SO_DETACH_REUSEPORT_BPF", unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF},
	{"setsockopt SO_BINDTOIFINDEX", unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX},
	{"setsockopt IP_RECVERR_RFC4884", unix.SYS_SETSOCKOPT, unix.IPPROTO_IP, unix.IP_RECVERR_RFC4884},
	{"setsockopt IPV6_FREEBIND", unix.SYS_SETSOCKOPT, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND},
	{"getsockopt SO_BINDTOIFINDEX", unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX},
	{"getsockopt SO_COOKIE", unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_COOKIE},
	{"getsockopt SO_DOMAIN", unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_DOMAIN},
	{"getsockopt SO_ACCEPTCONN", unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_ACCEPTCONN},
	{"getsockopt IP_TRANSPARENT", unix.SYS_GETSOCKOPT, unix.IPPROTO_IP, unix.IP_TRANSPARENT},
	{"getsockopt TCP_DEFER_ACCEPT", unix.SYS_GETSOCKOPT, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT},
	{"getsockopt TCP_INFO", unix.SYS_GETSOCKOPT, unix.IPPROTO_TCP, unix.TCP_INFO},
	{"shutdown", unix.SYS_SHUTDOWN, 0, 0},
	{"listen", unix.SYS_LISTEN, 0, 0},
}

// refuse makes a sandbox that answers calls with errno: the one that is named, or
// "all" options.
func refuse(name string, errno unix.Errno) error {
	var filter []unix.SockFilter
	for _, c := range refusals {
		if name != c.name && (name != "all" || c.option == 0) {
			continue
		}
		filter = append(filter, unix.SockFilter{Code: 0x20, K: 0}) // the number of the system call
		if c.option == 0 {
			filter = append(filter, unix.SockFilter{Code: 0x15, K: c.number, Jf: 1})
		} else {
			filter = append(filter,
				unix.SockFilter{Code: 0x15, K: c.number, Jf: 5},
				unix.SockFilter{Code: 0x20, K: 24 + testnet.LowWord()},
				unix.SockFilter{Code: 0x15, K: c.level, Jf: 3},
				unix.SockFilter{Code: 0x20, K: 32 + testnet.LowWord()},
				unix.SockFilter{Code: 0x15, K: c.option, Jf: 1})
		}
		filter = append(filter, unix.SockFilter{Code: 0x06, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	}
	filter = append(filter, unix.SockFilter{Code: 0x06, K: unix.SECCOMP_RET_ALLOW})
	_, err := testnet.Seccomp(0, filter)
	return err
}

// refused is serve in a sandbox that refuses the call of its first argument, with
// the error of the second.
func refused(args []string) error {
	errno := unix.EPERM
	if args[1] == "ENOPROTOOPT" {
		errno = unix.ENOPROTOOPT
	}
	if err := refuse(args[0], errno); err != nil {
		return err
	}
	return serve(args[2:])
}

// What a sandbox refuses Drain tells by name, and the server serves on; or it can
// do without, and nothing is lost.
func TestRefusedOptions(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedArguments(t)
	needNobody(t)
	for _, test := range []struct {
		call    string
		says    string
		network string
	}{
		{call: "", says: "drained"}, // the control
		{call: "setsockopt SO_ATTACH_REUSEPORT_CBPF", says: "refused"},
		{call: "setsockopt SO_DETACH_REUSEPORT_BPF", says: "drained"},
		{call: "setsockopt SO_BINDTOIFINDEX", says: "unknown"},
		{call: "setsockopt SO_BINDTOIFINDEX", says: "drained", network: "tcp6"},
		{call: "setsockopt IP_RECVERR_RFC4884", says: "refused"},
		{call: "setsockopt IPV6_FREEBIND", says: "drained"},
		{call: "setsockopt IPV6_FREEBIND", says: "unknown", network: "tcp6"},
		{call: "getsockopt SO_BINDTOIFINDEX", says: "refused"},
		{call: "getsockopt SO_COOKIE", says: "refused"},
		{call: "getsockopt SO_DOMAIN", says: "drained"},
		{call: "getsockopt SO_ACCEPTCONN", says: "refused"},
		{call: "getsockopt IP_TRANSPARENT", says: "refused"},
		{call: "getsockopt TCP_DEFER_ACCEPT", says: "refused"},
		{call: "getsockopt TCP_INFO", says: "refused"},
		{call: "shutdown", says: "drained"},
		{call: "all", says: "refused"},
	} {
		t.Run(cmp.Or(test.call, "nothing")+" "+test.network, func(t *testing.T) {
			testnet.Namespace(t)
			address, flags := addr, []string(nil)
			if test.network == "tcp6" {
				address = "[::1]:9999"
				flags = []string{"-net", "tcp6", "-addr", address}
			}
			begin := func() process { return start(t, nobody, "serve", flags...) }
			next := begin()
			for i, errno := range []string{"EPERM", "ENOPROTOOPT"} {
				if !testnet.Long && i > 0 && test.call != "all" {
					break
				}
				want := test.says
				if want == "refused" && errno == "ENOPROTOOPT" {
					want = "unsupported"
				}
				server := start(t, nobody, "refused", append([]string{test.call, errno}, flags...)...)
				server.tell(t, "drain")
				line := server.expect(t, "drained", "refused", "unsupported", "unknown", "error")
				drained := strings.HasPrefix(line, "drained")
				if !strings.HasPrefix(line, want) {
					t.Errorf("%s: %q, want %s", errno, line, want)
				}
				if !drained && test.call != "all" && !strings.Contains(line, test.call+": ") {
					t.Errorf("%s: %q does not tell what is missing", errno, line)
				}
				if got := sharesOf(t, address, 50); (len(got) == 1) != drained || got[next.pid()] == 0 {
					t.Errorf("%s: after %q %v answer", errno, line, got)
				}
				if drained {
					server.end(t)
				} else {
					// Nothing is left that keeps others from draining.
					next.tell(t, "drain")
					next.expect(t, "drained")
					next.end(t)
					next = begin()
					if got := sharesOf(t, address, 50); len(got) != 2 {
						t.Errorf("%s: then %v answer", errno, got)
					}
					server.end(t)
				}
				if got := sharesOf(t, address, 50); len(got) != 1 || got[next.pid()] == 0 {
					t.Errorf("%s: at last %v answer", errno, got)
				}
			}
		})
	}
}

// New says at once what it cannot do without.
func TestRefusedNew(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedArguments(t)
	needDrain(t)
	testnet.Namespace(t)
	for call, first := range map[string]string{
		"getsockopt SO_BINDTOIFINDEX": "getsockopt SO_BINDTOIFINDEX",
		"getsockopt SO_COOKIE":        "getsockopt SO_COOKIE",
		"all":                         "getsockopt SO_COOKIE",
	} {
		p := testnet.Start(t, os.Getuid(), "refused new", call)
		if line := p.Line(t); line != "true true "+first {
			t.Errorf("without %s: %q", call, line)
		}
	}
}

// refusedNew tells of what kind New's error is.
func refusedNew(args []string) error {
	if err := refuse(args[0], unix.ENOPROTOOPT); err != nil {
		return err
	}
	ln, err := reuse.Port.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	_, err = handover.New(ln)
	name := "nothing"
	for _, c := range refusals {
		if err != nil && strings.Contains(err.Error(), c.name+": ") {
			name = c.name
		}
	}
	fmt.Println(errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.ENOPROTOOPT), name)
	return nil
}

// Servers in sandboxes are replaced under load, and nothing is lost; who joins
// later has a share.
func TestRefusedRestart(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedArguments(t)
	needNobody(t)
	for _, call := range []string{"setsockopt SO_DETACH_REUSEPORT_BPF", "shutdown"} {
		t.Run(call, func(t *testing.T) {
			testnet.Namespace(t)
			begin := func() process { return start(t, nobody, "refused", call, "EPERM") }
			lossless(t, func(drain bool) (lost int) {
				return replaced(t, drain, times(6), begin, func() process { return start(t, nobody, "load", "-n", "16") })
			})
			server := begin()
			server.replaceBy(t, "Listen", begin())
			begin()
			if got := shares(t, addr); len(got) != 2 {
				t.Errorf("%v answer, want both", got)
			}
		})
	}
}
