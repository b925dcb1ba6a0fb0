package reuse_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestExplainListener(t *testing.T) {
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		p := hold(t, os.Getuid(), kind, "127.0.0.1:9999", noOption)
		e := explained(t, failed(t, reuse.Addr, network, "127.0.0.1:9999"))
		wantCause(t, e, reuse.CauseListener, 1)
		wantAdvice(t, e, fmt.Sprintf("stop pid %d", p.Process.Pid), "reuse.Port.Listen")
		h := e.Holders[0]
		me, err := user.LookupId(strconv.Itoa(os.Getuid()))
		if err != nil {
			t.Fatal(err)
		}
		if h.Network != network || h.Local.String() != "127.0.0.1:9999" || h.UID != os.Getuid() || h.User != me.Username ||
			h.Inode == 0 || !h.OptionsKnown || h.Options != 0 || h.Count != 1 {
			t.Errorf("holder %+v", h)
		}
		if len(h.Processes) != 1 || h.Processes[0].PID != p.Process.Pid || h.Processes[0].Command == "" || h.Processes[0].Heir {
			t.Errorf("processes %+v", h.Processes)
		}
		// The advice, one part after the other.
		stop(t, p)
		listens(t, reuse.Addr, network, "127.0.0.1:9999")
		p = hold(t, os.Getuid(), kind, "127.0.0.1:9999", portOption)
		listens(t, reuse.Port, network, "127.0.0.1:9999")
		stop(t, p)
	}
}

func TestExplainSharing(t *testing.T) {
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		p := hold(t, os.Getuid(), kind, "127.0.0.1:9999", portOption)
		e := explained(t, failed(t, reuse.Addr, network, "127.0.0.1:9999"))
		wantCause(t, e, reuse.CauseSharing, 1)
		wantAdvice(t, e, "SO_REUSEPORT", "reuse.Port.Listen")
		if h := e.Holders[0]; !h.OptionsKnown || h.Options != reuse.Port {
			t.Errorf("options %v", h.Options)
		}
		listens(t, reuse.Port, network, "127.0.0.1:9999")
		stop(t, p)
	}
}

func TestExplainOtherUser(t *testing.T) {
	needRoot(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		p := hold(t, 65534, kind, "127.0.0.1:9999", portOption)
		e := explained(t, failed(t, reuse.Port, network, "127.0.0.1:9999"))
		wantCause(t, e, reuse.CauseOtherUser, 1)
		wantAdvice(t, e, "same user", "65534")
		testnet.As(t, 65534, func() { listens(t, reuse.Port, network, "127.0.0.1:9999") })
		stop(t, p)
	}
}

func TestExplainSelf(t *testing.T) {
	testnet.Namespace(t)
	for _, network := range []string{"tcp", "tcp4", "tcp6", "udp", "udp4"} {
		var first interface{ Close() error }
		var err error
		if strings.HasPrefix(network, "tcp") {
			first, err = net.Listen(network, ":9999")
		} else {
			first, err = net.ListenPacket(network, ":9999")
		}
		if err != nil {
			t.Fatal(err)
		}
		e := explained(t, failed(t, reuse.Port, network, ":9999"))
		wantCause(t, e, reuse.CauseSelf, 1)
		wantAdvice(t, e, "close it first")
		if p := e.Holders[0].Processes; len(p) != 1 || p[0].PID != os.Getpid() {
			t.Errorf("processes %+v", p)
		}
		first.Close()
		listens(t, reuse.Port, network, ":9999")
	}
}

// The socket outlives the process that opened it, in a child.
func TestExplainInherited(t *testing.T) {
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "listen", "127.0.0.1:9999", addrOption)
	fmt.Fprintln(p.In, "heir")
	child, err := strconv.Atoi(p.Line(t))
	if err != nil {
		t.Fatal(err)
	}
	e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
	wantCause(t, e, reuse.CauseInherited, 1)
	wantAdvice(t, e, fmt.Sprintf("stop pids %d and %d", p.Process.Pid, child))
	want := []reuse.Process{{PID: p.Process.Pid}, {PID: child, Heir: true}}
	got := slices.Clone(e.Holders[0].Processes)
	for i := range got {
		got[i].Command = ""
	}
	if !slices.Equal(got, want) {
		t.Errorf("processes %+v, want %+v", got, want)
	}
	// Not the one: the heir keeps the socket. It ends at the end of its
	// standard input, which is the first process's.
	fmt.Fprintln(p.In, "close")
	p.Line(t)
	e = explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
	wantCause(t, e, reuse.CauseListener, 1)
	if got := e.Holders[0].Processes; len(got) != 1 || got[0].PID != child || got[0].Heir {
		t.Errorf("processes %+v, want the heir", got)
	}
	fd, err := unix.PidfdOpen(child, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	stop(t, p)
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

// TestExplainLeftover: SO_REUSEADDR passes what was made with it.
func TestExplainLeftover(t *testing.T) {
	for _, state := range testnet.States {
		t.Run(state.String(), func(t *testing.T) {
			testnet.Namespace(t)
			ln, err := net.Listen("tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", state)
			config := net.ListenConfig{Control: noOption.control}
			_, err = config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
			e := explained(t, err)
			wantCause(t, e, reuse.CauseLeftover, 1)
			wantAdvice(t, e, "SO_REUSEADDR (reuse.Addr.Listen)")
			h := e.Holders[0]
			if h.State != state.String() {
				t.Errorf("state %s", h.State)
			}
			if state == testnet.TimeWait && (h.Expires <= 0 || h.Expires.Seconds() > 60 || h.UID != -1) {
				t.Errorf("expires in %v, user %d", h.Expires, h.UID)
			}
			// A dial from that port sets no option by itself.
			other, err := net.Listen("tcp", "127.0.0.1:9998")
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9999}}
			_, err = dialer.Dial("tcp", "127.0.0.1:9998")
			e = explained(t, err)
			wantCause(t, e, reuse.CauseLeftover, 1)
			wantAdvice(t, e, "net.Dialer{Control: reuse.Addr.Control}")
			dialer.Control = reuse.Addr.Control
			conn, err := dialer.Dial("tcp", "127.0.0.1:9998")
			if err != nil {
				t.Fatal("the advice does not help: ", err)
			}
			conn.Close()
		})
	}
	t.Run("Port only", func(t *testing.T) {
		testnet.Namespace(t)
		config := net.ListenConfig{Control: portOption.control}
		ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		testnet.Leave(t, ln, "127.0.0.1:9999", testnet.TimeWait)
		e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
		wantCause(t, e, reuse.CauseLeftover, 1)
		wantAdvice(t, e, "reuse.Port.Listen")
		listens(t, reuse.Port, "tcp", "127.0.0.1:9999")
	})
}

// TestExplainStubborn: no option passes what was made without SO_REUSEADDR.
func TestExplainStubborn(t *testing.T) {
	for _, state := range testnet.States {
		t.Run(state.String(), func(t *testing.T) {
			testnet.Namespace(t)
			config := net.ListenConfig{Control: noOption.control}
			ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", state)
			for _, m := range modes {
				e := explained(t, failed(t, m, "tcp", "127.0.0.1:9999"))
				wantCause(t, e, reuse.CauseStubborn, 1)
				wantAdvice(t, e, "no option of this socket passes them")
				if state == testnet.TimeWait {
					wantAdvice(t, e, "wait ", " s")
				}
			}
		})
	}
	// The seconds are true: with a short timeout they can be waited for.
	t.Run("wait", func(t *testing.T) {
		testnet.Namespace(t)
		sysctl(t, "tcp_fin_timeout", "1")
		config := net.ListenConfig{Control: noOption.control}
		ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		testnet.Leave(t, ln, "127.0.0.1:9999", testnet.FinWait2)
		e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
		wantCause(t, e, reuse.CauseStubborn, 1)
		if expires := e.Holders[0].Expires.Seconds(); expires <= 0 || expires > 2 {
			t.Errorf("expires in %v s, with tcp_fin_timeout 1", expires)
		}
		unix.Poll(nil, int(e.Holders[0].Expires.Milliseconds())+200)
		listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
	})
}

// TestExplainOutgoing: a client has got the port.
func TestExplainOutgoing(t *testing.T) {
	for _, wait := range []bool{false, true} {
		t.Run(fmt.Sprint("TIME_WAIT=", wait), func(t *testing.T) {
			testnet.Namespace(t)
			server, err := net.Listen("tcp", "127.0.0.1:9000")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			sysctl(t, "ip_local_port_range", "20000 20000")
			sysctl(t, "ip_local_reserved_ports", "30000")
			dial := func(d net.Dialer) net.Conn {
				t.Helper()
				client, err := d.Dial("tcp", "127.0.0.1:9000")
				if err != nil {
					t.Fatal(err)
				}
				accepted, err := server.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if wait {
					client.Close()
					accepted.Close()
					testnet.See(t, client.LocalAddr(), client.RemoteAddr(), testnet.TimeWait)
				} else {
					t.Cleanup(func() { client.Close(); accepted.Close() })
				}
				return client
			}
			client := dial(net.Dialer{})
			for _, m := range modes {
				e := explained(t, failed(t, m, "tcp", ":20000"))
				wantCause(t, e, reuse.CauseOutgoing, 1)
				wantAdvice(t, e, "net.ipv4.ip_local_reserved_ports=30000,20000", "net.Dialer{Control: reuse.Addr.Control}")
				h := e.Holders[0]
				if h.Local.String() != client.LocalAddr().String() || h.Remote.String() != "127.0.0.1:9000" {
					t.Errorf("holder %+v", h)
				}
				if own := len(h.Processes) == 1 && h.Processes[0].PID == os.Getpid(); own == wait {
					t.Errorf("processes %+v", h.Processes)
				}
			}
			if wait {
				return // for a minute
			}
			client.(*net.TCPConn).SetLinger(0) // frees it at once
			client.Close()
			sysctl(t, "ip_local_reserved_ports", "30000,20000")
			if _, err := net.Dial("tcp", "127.0.0.1:9000"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Errorf("the only port, reserved: %v", err)
			}
			sysctl(t, "ip_local_reserved_ports", "\n")
			dial(net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Control: reuse.Addr.Control})
			listens(t, reuse.Addr, "tcp", ":20000")
		})
	}
}

func TestExplainBound(t *testing.T) {
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "bind", "127.0.0.1:9999", noOption)
	e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
	if len(e.Holders) == 0 { // not every kernel lists it
		wantCause(t, e, reuse.CauseBound, 0)
	} else {
		wantCause(t, e, reuse.CauseBound, 1)
		wantAdvice(t, e, fmt.Sprintf("stop pid %d", p.Process.Pid), "reuse.Addr.Listen")
		if h := e.Holders[0]; h.State != "BOUND" || len(h.Processes) != 1 {
			t.Errorf("holder %+v", h)
		}
	}
	stop(t, p)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
	hold(t, os.Getuid(), "bind", "127.0.0.1:9999", addrOption)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

func TestExplainDualStack(t *testing.T) {
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "listen", "[::]:9999", addrOption)
	for _, address := range []string{"0.0.0.0:9999", "127.0.0.1:9999"} {
		e := explained(t, failed(t, reuse.Addr, "tcp4", address))
		wantCause(t, e, reuse.CauseDualStack, 1)
		wantAdvice(t, e, "have it open network tcp6 (IPV6_V6ONLY)")
	}
	stop(t, p)
	p = testnet.Start(t, os.Getuid(), "holder")
	holdMore(t, p, "listen", "[::]:9999", true, addrOption)
	listens(t, reuse.Addr, "tcp4", "0.0.0.0:9999")
	listens(t, reuse.Addr, "tcp4", "127.0.0.1:9999")
	stop(t, p)

	// The other way round.
	p = hold(t, os.Getuid(), "listen", "127.0.0.1:9999", addrOption)
	e := explained(t, failed(t, reuse.Addr, "tcp", ":9999"))
	wantCause(t, e, reuse.CauseDualStack, 1)
	wantAdvice(t, e, "open this on network tcp6")
	listens(t, reuse.Addr, "tcp6", ":9999")
	stop(t, p)
}

// TestExplainHidden explains as a user who may not see the holder's process.
func TestExplainHidden(t *testing.T) {
	needRoot(t)
	testnet.Namespace(t)
	p := hold(t, 0, "listen", "127.0.0.1:9999", addrOption)
	blind := testnet.Start(t, 65534, "explainer", "1", "tcp", "127.0.0.1:9999")
	line := blind.Line(t)
	if !strings.HasPrefix(line, "hidden 1 1 ") || !strings.Contains(line, "user root") || !strings.Contains(line, "another user's") {
		t.Errorf("as another user: %q", line)
	}
	seeing := testnet.Start(t, 0, "explainer", "1", "tcp", "127.0.0.1:9999")
	if line := seeing.Line(t); !strings.HasPrefix(line, "listener 1 0 ") {
		t.Errorf("as root: %q", line)
	}
	stop(t, p)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

// TestExplainNamespace explains in a pid namespace of its own, from which the
// holder's process cannot be seen, although it is the same user's.
func TestExplainNamespace(t *testing.T) {
	needRoot(t)
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare(1): ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testnet.Namespace(t)
	p := hold(t, 0, "listen", "127.0.0.1:9999", addrOption)
	args := []string{self, "1", "tcp", "127.0.0.1:9999"}
	for name, test := range map[string]struct {
		command []string
		want    string
	}{
		"inside":  {append([]string{unshare, "--pid", "--fork", "--mount-proc"}, args...), "hidden 1 0 "},
		"outside": {args, "listener 1 0 "},
	} {
		cmd := exec.Command(test.command[0], test.command[1:]...)
		cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=explainer")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), test.want) {
			t.Errorf("%s: %v, %s; want %q", name, err, out, test.want)
		}
		if inside := name == "inside"; inside != strings.Contains(string(out), "outermost pid namespace") {
			t.Errorf("%s: %s", name, out)
		}
	}
	stop(t, p)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

// TestExplainSeveral: all that is in the way is listed, the decisive one first.
func TestExplainSeveral(t *testing.T) {
	testnet.Namespace(t)
	sysctl(t, "ip_local_port_range", "20000 20000")
	server, err := net.Listen("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("tcp", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := hold(t, os.Getuid(), "listen", "127.0.0.2:20000", noOption)
	e := explained(t, failed(t, reuse.Addr, "tcp4", ":20000"))
	wantCause(t, e, reuse.CauseListener, 2)
	if e.Holders[1].Cause != reuse.CauseOutgoing {
		t.Errorf("second: %+v", e.Holders[1])
	}
	stop(t, p)
	e = explained(t, failed(t, reuse.Addr, "tcp4", ":20000"))
	wantCause(t, e, reuse.CauseOutgoing, 1)
}

// TestExplainFree: it is free by the time it is explained.
func TestExplainFree(t *testing.T) {
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		p := hold(t, os.Getuid(), kind, "127.0.0.1:9999", noOption)
		err := failed(t, reuse.Addr, network, "127.0.0.1:9999")
		stop(t, p)
		wantCause(t, explained(t, err), reuse.CauseFree, 0)
		listens(t, reuse.Addr, network, "127.0.0.1:9999")
	}
}
