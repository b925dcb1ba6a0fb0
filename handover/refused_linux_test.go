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
type optionCall struct {
	name          string
	number        uint32
	level, option uint32
}

var optionCalls = []optionCall{
	{"setsockopt SO_ATTACH_REUSEPORT_CBPF", unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF},
	{"setsockopt SO_DETACH_REUSEPORT_BPF", unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF},
	{"setsockopt SO_BINDTOIFINDEX", unix.SYS_SETSOCKOPT, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX},
	{"getsockopt SO_BINDTOIFINDEX", unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX},
	{"getsockopt SO_MEMINFO", unix.SYS_GETSOCKOPT, unix.SOL_SOCKET, unix.SO_MEMINFO},
	{"setsockopt IP_BIND_ADDRESS_NO_PORT", unix.SYS_SETSOCKOPT, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT},
}

// refuse makes a sandbox that answers calls with errno: those that are named, or
// "all".
func refuse(name string, errno unix.Errno) error {
	filter := []unix.SockFilter{{Code: 0x20, K: 0}} // the number of the system call
	for _, c := range optionCalls {
		if name != c.name && name != "all" {
			continue
		}
		filter = append(filter,
			unix.SockFilter{Code: 0x20, K: 0},
			unix.SockFilter{Code: 0x15, K: c.number, Jf: 5},
			unix.SockFilter{Code: 0x20, K: 24 + firstWord()}, // its second argument
			unix.SockFilter{Code: 0x15, K: c.level, Jf: 3},
			unix.SockFilter{Code: 0x20, K: 32 + firstWord()}, // its third
			unix.SockFilter{Code: 0x15, K: c.option, Jf: 1},
			unix.SockFilter{Code: 0x06, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
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
	guarded := filtersAreRoots(t)
	for _, test := range []struct {
		call           string
		known, adopted string // what a Drain of such a listener says
	}{
		{"", "drained", "drained"}, // the control
		{"setsockopt SO_ATTACH_REUSEPORT_CBPF", "refused", "unknown"},
		{"setsockopt SO_DETACH_REUSEPORT_BPF", "drained", "drained"},
		{"setsockopt SO_BINDTOIFINDEX", "drained", "drained"},
		{"getsockopt SO_BINDTOIFINDEX", "refused", ""},
		{"getsockopt SO_MEMINFO", "drained", "unknown"},
		{"setsockopt IP_BIND_ADDRESS_NO_PORT", "refused", "refused"},
		{"all", "refused", ""},
	} {
		t.Run(cmp.Or(test.call, "nothing"), func(t *testing.T) {
			testnet.Namespace(t)
			next := start(t, nobody, "serve")
			for i, errno := range []string{"EPERM", "ENOPROTOOPT", "EPERM", "ENOPROTOOPT"} {
				adopted := i >= 2
				want, flags := test.known, []string{test.call, errno}
				if adopted {
					want, flags = test.adopted, append(flags, "-adopt")
				}
				if want == "refused" && errno == "ENOPROTOOPT" {
					want = "unsupported"
				}
				if want == "" || !testnet.Long && i%3 != 0 {
					continue // New returns the error
				}
				server := start(t, nobody, "refused", flags...)
				server.tell(t, "drain")
				line := server.expect(t, "drained", "refused", "unsupported", "unknown", "error")
				drained := strings.HasPrefix(line, "drained")
				refusing := want == "unknown" && !guarded
				if !strings.HasPrefix(line, want) && !(refusing && drained) {
					t.Errorf("%q: %q, want %s", flags, line, want)
				}
				if refusing && drained { // no SYNs, until it is closed
					server.end(t)
				}
				if !drained && test.call != "all" && !strings.Contains(line, test.call+": ") {
					t.Errorf("%q: %q does not tell what is missing", flags, line)
				}
				if got := shares(t, addr); (len(got) == 1) != drained || got[next.pid()] == 0 {
					t.Errorf("%q: after %q %v answer", flags, line, got)
				}
				if drained {
					if !refusing {
						server.end(t)
					}
					continue
				}
				// Nothing is left that keeps others from draining.
				next.tell(t, "drain")
				next.expect(t, "drained")
				next.end(t)
				next = start(t, nobody, "serve")
				if got := shares(t, addr); len(got) != 2 {
					t.Errorf("%q: then %v answer", flags, got)
				}
				server.end(t)
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
	for _, call := range []string{"getsockopt SO_BINDTOIFINDEX", "all"} {
		p := testnet.Start(t, os.Getuid(), "refused new", call)
		if line := p.Line(t); line != "true true getsockopt SO_BINDTOIFINDEX" {
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
	for _, c := range optionCalls {
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
	for _, call := range []string{"setsockopt SO_DETACH_REUSEPORT_BPF", "getsockopt SO_MEMINFO"} {
		t.Run(call, func(t *testing.T) {
			testnet.Namespace(t)
			begin := func() process { return start(t, nobody, "refused", call, "EPERM") }
			restarts := func(drain bool) (lost int) {
				server := begin()
				clients := start(t, nobody, "load", "-n", "16")
				refused := 0
				for range times(6) {
					next := begin()
					for drain {
						server.tell(t, "drain")
						if line := server.expect(t, "drained", "unknown"); strings.HasPrefix(line, "drained") {
							break
						}
						// Without probes, the watch has to have seen that it was alone.
						if refused++; refused > 50 {
							t.Fatal("the slot stays unknown")
						}
						next.tell(t, "drain")
						next.expect(t, "drained")
						next.end(t)
						next = begin()
					}
					server.end(t)
					server = next
				}
				ok, lost, slow := clients.counts(t)
				t.Logf("drain %v: %d connections, %d lost, %d slow, %d refused", drain, ok, lost, slow, refused)
				if drain {
					next := begin()
					if got := shares(t, addr); len(got) != 2 {
						t.Errorf("%v answer, want both %d and %d", got, server.pid(), next.pid())
					}
					next.end(t)
				}
				server.end(t)
				return lost
			}
			lossless(t, restarts)
		})
	}
}
