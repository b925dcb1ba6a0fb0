package inuse_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

func TestExplainListener(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		p := hold(t, os.Getuid(), kind, "127.0.0.1:9999", testnet.NoOption)
		e := explained(t, failed(t, reuse.Addr, network, "127.0.0.1:9999"))
		wantCause(t, e, inuse.CauseListener, 1)
		wantRemedies(t, e, "stop-process")
		h := e.Holders[0]
		me, err := user.LookupId(strconv.Itoa(os.Getuid()))
		if err != nil {
			t.Fatal(err)
		}
		if h.Network != network || h.Local.String() != "127.0.0.1:9999" || h.UID != os.Getuid() || h.User != me.Username ||
			h.Options != (inuse.Options{Known: true}) || h.Count != 1 {
			t.Errorf("holder %+v", h)
		}
		if len(h.Processes) != 1 || h.Processes[0].PID != p.Process.Pid || h.Processes[0].Command == "" || h.Processes[0].Inherited {
			t.Errorf("processes %+v", h.Processes)
		}
		// The advice, one part after the other.
		p.Stop(t)
		listens(t, reuse.Addr, network, "127.0.0.1:9999")
		p = hold(t, os.Getuid(), kind, "127.0.0.1:9999", testnet.ReusePort)
		listens(t, reuse.Port, network, "127.0.0.1:9999")
		p.Stop(t)
	}
}

// It is said how to share a port with another copy of the same program only: next to
// somebody else's server it would take half of the clients.
func TestExplainSharing(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		for _, test := range []struct {
			options testnet.Options
			want    string
		}{
			{testnet.ReusePort, "; or share it: set SO_REUSEPORT in yours too"},
			{testnet.NoOption, "; or share it: set SO_REUSEPORT in both"},
		} {
			p := hold(t, os.Getuid(), kind, "127.0.0.1:9999", test.options)
			e := explained(t, failed(t, reuse.Addr, network, "127.0.0.1:9999"))
			wantCause(t, e, inuse.CauseListener, 1)
			wantRemedies(t, e, "stop-process")
			if h := e.Holders[0]; h.Options != (inuse.Options{Known: true, ReusePort: test.options == testnet.ReusePort}) {
				t.Errorf("options %+v", h.Options)
			}
			copied := testnet.Start(t, os.Getuid(), "explainer", "1", network, "127.0.0.1:9999")
			if line := copied.Line(t); !strings.Contains(line, test.want) {
				t.Errorf("%q does not say %q", line, test.want)
			}
			if test.options == testnet.ReusePort {
				listens(t, reuse.Port, network, "127.0.0.1:9999")
			}
			p.Stop(t)
		}
	}
}

func TestExplainOtherUser(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	for _, network := range []string{"tcp4", "udp4"} {
		kind := map[string]string{"tcp4": "listen", "udp4": "udp"}[network]
		p := hold(t, 65534, kind, "127.0.0.1:9999", testnet.ReusePort)
		e := explained(t, failed(t, reuse.Port, network, "127.0.0.1:9999"))
		wantCause(t, e, inuse.CauseOtherUser, 1)
		wantRemedies(t, e, "stop-process") // next to somebody else's server nothing is shared
		testnet.As(t, 65534, func() { listens(t, reuse.Port, network, "127.0.0.1:9999") })
		p.Stop(t)
	}
}

func TestExplainSelf(t *testing.T) {
	testnet.NeedTables(t)
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
		wantCause(t, e, inuse.CauseSelf, 1)
		wantRemedies(t, e, "close-first", "share")
		if p := e.Holders[0].Processes; len(p) != 1 || p[0].PID != os.Getpid() {
			t.Errorf("processes %+v", p)
		}
		first.Close()
		listens(t, reuse.Port, network, ":9999")
	}
}

// The socket outlives the process that opened it, in a child.
func TestExplainInherited(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "listen", "127.0.0.1:9999", testnet.ReuseAddr)
	fmt.Fprintln(p.In, "heir")
	child, err := strconv.Atoi(p.Line(t))
	if err != nil {
		t.Fatal(err)
	}
	e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
	wantCause(t, e, inuse.CauseInherited, 1)
	wantRemedies(t, e, "stop-all")
	if got, want := e.Remedies[0].Command, fmt.Sprintf("kill %d %d", p.Process.Pid, child); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := e.Holders[0].Processes; len(got) != 2 || got[0].PID != p.Process.Pid || got[0].Inherited || got[1].PID != child || !got[1].Inherited {
		t.Errorf("processes %+v", got)
	}
	// Not the one: the heir keeps the socket. It ends at the end of its
	// standard input, which is the first process's.
	fmt.Fprintln(p.In, "close")
	p.Line(t)
	e = explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
	wantCause(t, e, inuse.CauseListener, 1)
	if got := e.Holders[0].Processes; len(got) != 1 || got[0].PID != child || got[0].Inherited {
		t.Errorf("processes %+v, want the heir", got)
	}
	fd, err := unix.PidfdOpen(child, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	p.Stop(t)
	unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

// TestExplainLeftover: SO_REUSEADDR passes what was made with it.
func TestExplainLeftover(t *testing.T) {
	testnet.NeedTables(t)
	for _, state := range testnet.States {
		t.Run(state.String(), func(t *testing.T) {
			testnet.Namespace(t)
			ln, err := net.Listen("tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", state)
			config := net.ListenConfig{Control: testnet.NoOption.Control}
			_, err = config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
			e := explained(t, err)
			cause := inuse.CauseLeftover
			if state == testnet.Established || state == testnet.CloseWait {
				cause = inuse.CauseConnection
			}
			wantCause(t, e, cause, 1)
			if got := e.Remedies[len(e.Remedies)-1].Kind; got != "set-reuseaddr" {
				t.Errorf("%s: %v", got, e)
			}
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
			wantCause(t, e, cause, 1)
			if !strings.Contains(e.Error(), "net.Dialer{Control: reuse.Addr.Control}") {
				t.Error(e)
			}
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
		config := net.ListenConfig{Control: testnet.ReusePort.Control}
		ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		testnet.Leave(t, ln, "127.0.0.1:9999", testnet.TimeWait)
		e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
		wantCause(t, e, inuse.CauseLeftover, 1)
		wantRemedies(t, e, "wait", "drop-closed")
		listens(t, reuse.Port, "tcp", "127.0.0.1:9999")
	})
}

// TestExplainStubborn: no option passes what was made without SO_REUSEADDR.
func TestExplainStubborn(t *testing.T) {
	testnet.NeedTables(t)
	for _, state := range testnet.States {
		t.Run(state.String(), func(t *testing.T) {
			testnet.Namespace(t)
			config := net.ListenConfig{Control: testnet.NoOption.Control}
			ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", state)
			for _, m := range modes {
				e := explained(t, failed(t, m, "tcp", "127.0.0.1:9999"))
				if open := state == testnet.Established || state == testnet.CloseWait; open {
					wantCause(t, e, inuse.CauseConnection, 1)
					wantRemedies(t, e, map[testnet.State]string{testnet.Established: "stop-connection", testnet.CloseWait: "stop-process"}[state])
					continue
				}
				wantCause(t, e, inuse.CauseLeftover, 1)
				if e.Holders[0].Expires > 0 {
					wantRemedies(t, e, "wait", "drop-closed")
				} else {
					wantRemedies(t, e, "drop-closed")
				}
			}
		})
	}
	// The process that has the connection can be stopped. (The other side has
	// closed already, so none stays in TIME_WAIT.)
	t.Run("owner", func(t *testing.T) {
		testnet.Namespace(t)
		p := hold(t, os.Getuid(), "listen", "127.0.0.1:9999", testnet.NoOption)
		client, err := net.Dial("tcp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		holdMore(t, p, "accept", "-", false, testnet.NoOption)
		client.Close()
		testnet.See(t, client.RemoteAddr(), client.LocalAddr(), testnet.CloseWait)
		e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
		wantCause(t, e, inuse.CauseConnection, 1)
		wantRemedies(t, e, "stop-process")
		p.Stop(t)
		testnet.See(t, client.RemoteAddr(), client.LocalAddr(), testnet.Gone)
		listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
	})
	// The seconds are true: with a short timeout they can be waited for.
	t.Run("wait", func(t *testing.T) {
		testnet.Namespace(t)
		testnet.Sysctl(t, "tcp_fin_timeout", "1")
		config := net.ListenConfig{Control: testnet.NoOption.Control}
		ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:9999")
		if err != nil {
			t.Fatal(err)
		}
		testnet.Leave(t, ln, "127.0.0.1:9999", testnet.FinWait2)
		e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
		wantCause(t, e, inuse.CauseLeftover, 1)
		if expires := e.Holders[0].Expires.Seconds(); expires <= 0 || expires > 2 {
			t.Errorf("expires in %v s, with tcp_fin_timeout 1", expires)
		}
		unix.Poll(nil, int(e.Holders[0].Expires.Milliseconds())+200)
		listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
	})
}

// TestExplainOutgoing: a client has got the port.
func TestExplainOutgoing(t *testing.T) {
	testnet.NeedTables(t)
	for _, test := range []struct {
		server, ports string
		wait          bool // for a connection in TIME_WAIT
	}{
		{"127.0.0.1:9000", "20000 20000", false},
		{"127.0.0.1:9000", "20000 20000", true},
		{"127.0.0.1:20001", "20000 20001", false}, // whose port could be a client's, too
		{"127.0.0.1:20001", "20000 20001", true},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			testnet.Namespace(t)
			server, err := net.Listen("tcp", test.server)
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			testnet.Sysctl(t, "ip_local_port_range", test.ports)
			testnet.Sysctl(t, "ip_local_reserved_ports", "30000")
			dial := func(d net.Dialer) net.Conn {
				t.Helper()
				client, err := d.Dial("tcp", test.server)
				if err != nil {
					t.Fatal(err)
				}
				accepted, err := server.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if test.wait {
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
				wantCause(t, e, map[bool]inuse.Cause{true: inuse.CauseLeftover, false: inuse.CauseOutgoing}[test.wait], 1)
				if command := e.Remedies[len(e.Remedies)-1].Command; command != "sysctl -w net.ipv4.ip_local_reserved_ports=30000,20000" {
					t.Errorf("%q", command)
				}
				h := e.Holders[0]
				if h.Local.String() != client.LocalAddr().String() || h.Remote.String() != test.server {
					t.Errorf("holder %+v", h)
				}
				if own := len(h.Processes) == 1 && h.Processes[0].PID == os.Getpid(); own == test.wait {
					t.Errorf("processes %+v", h.Processes)
				}
			}
			if test.wait {
				return // for a minute
			}
			client.(*net.TCPConn).SetLinger(0) // frees it at once
			client.Close()
			testnet.Sysctl(t, "ip_local_reserved_ports", "30000,20000")
			if _, err := net.Dial("tcp", test.server); !errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Errorf("the only port, reserved: %v", err)
			}
			testnet.Sysctl(t, "ip_local_reserved_ports", "\n")
			dial(net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, Control: reuse.Addr.Control})
			listens(t, reuse.Addr, "tcp", ":20000")
		})
	}
}

// UDP clients get their ports from the same range.
func TestExplainOutgoingUDP(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	testnet.Sysctl(t, "ip_local_port_range", "20000 20000")
	p := hold(t, os.Getuid(), "udpclient", "127.0.0.1:0", testnet.NoOption)
	e := explained(t, failed(t, reuse.Addr, "udp4", ":20000"))
	wantCause(t, e, inuse.CauseOutgoing, 1)
	wantRemedies(t, e, "stop-process", "reserve")
	p.Stop(t)
	testnet.Sysctl(t, "ip_local_reserved_ports", "20000")
	if conn, err := net.Dial("udp", "127.0.0.1:9"); err == nil {
		t.Errorf("a client gets %v, the only port, which is reserved", conn.LocalAddr())
		conn.Close()
	}
	listens(t, reuse.Addr, "udp4", ":20000")
}

func TestExplainBound(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "bind", "127.0.0.1:9999", testnet.NoOption)
	e := explained(t, failed(t, reuse.Addr, "tcp", "127.0.0.1:9999"))
	if len(e.Holders) == 0 { // not every kernel lists it
		wantCause(t, e, inuse.CauseBound, 0)
	} else {
		wantCause(t, e, inuse.CauseBound, 1)
		wantRemedies(t, e, "stop-process")
		if h := e.Holders[0]; h.State != "BOUND" || len(h.Processes) != 1 {
			t.Errorf("holder %+v", h)
		}
	}
	p.Stop(t)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
	hold(t, os.Getuid(), "bind", "127.0.0.1:9999", testnet.ReuseAddr)
	listens(t, reuse.Addr, "tcp", "127.0.0.1:9999")
}

func TestExplainDualStack(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "listen", "[::]:9999", testnet.ReuseAddr)
	for _, address := range []string{"0.0.0.0:9999", "127.0.0.1:9999"} {
		e := explained(t, failed(t, reuse.Addr, "tcp4", address))
		wantCause(t, e, inuse.CauseDualStack, 1)
		wantRemedies(t, e, "stop-process", "v6only")
	}
	p.Stop(t)
	p = testnet.Start(t, os.Getuid(), "holder")
	holdMore(t, p, "listen", "[::]:9999", true, testnet.ReuseAddr)
	listens(t, reuse.Addr, "tcp4", "0.0.0.0:9999")
	listens(t, reuse.Addr, "tcp4", "127.0.0.1:9999")
	p.Stop(t)

	// The other way round it is no riddle: [::] is asked for, of which 0.0.0.0 is a part.
	p = hold(t, os.Getuid(), "listen", "0.0.0.0:9999", testnet.ReuseAddr)
	e := explained(t, failed(t, reuse.Addr, "tcp", ":9999"))
	wantCause(t, e, inuse.CauseListener, 1)
	p.Stop(t)
	p = hold(t, os.Getuid(), "listen", "127.0.0.1:9999", testnet.ReuseAddr)
	e = explained(t, failed(t, reuse.Addr, "tcp", ":9999"))
	wantCause(t, e, inuse.CauseOneAddress, 1)
	p.Stop(t)
	listens(t, reuse.Addr, "tcp", ":9999")
}

// One process that opens 0.0.0.0 and [::] itself is told so.
func TestExplainSelfTwice(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	for _, networks := range [][2]string{{"tcp", "tcp4"}, {"tcp4", "tcp"}} {
		ln, err := net.Listen(networks[0], ":9999")
		if err != nil {
			t.Fatal(err)
		}
		e := explained(t, failed(t, reuse.Addr, networks[1], ":9999"))
		wantCause(t, e, inuse.CauseSelf, 1)
		wantRemedies(t, e, "leave-out")
		ln.Close()
		four, err := net.Listen("tcp4", ":9999")
		if err != nil {
			t.Fatal(err)
		}
		listens(t, reuse.Addr, "tcp6", ":9999")
		four.Close()
	}
}
