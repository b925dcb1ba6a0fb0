package handover_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// Without TCP_MD5SIG, and so without probes, a listener follows its group from
// its birth: servers are replaced one after the other, and nothing is lost.
func TestNoProbes(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedArguments(t)
	needNobody(t)
	testnet.Namespace(t)
	restarts := func(drain bool) (lost int) {
		server := start(t, nobody, "forbidden", "md5sig")
		clients := start(t, nobody, "load")
		for range times(10) {
			next := start(t, nobody, "forbidden", "md5sig")
			if drain {
				server.tell(t, "drain")
				server.expect(t, "drained")
			}
			server.end(t)
			server = next
			if drain { // it sees that it is alone now
				for line := ""; !strings.HasPrefix(line, "alone"); {
					server.tell(t, "drain")
					line = server.expect(t, "alone", "unknown")
				}
			}
		}
		ok, lost, slow := clients.counts(t)
		server.end(t)
		t.Logf("drain %v: %d connections, %d lost, %d slow", drain, ok, lost, slow)
		return lost
	}
	lossless(t, restarts)
}

// filtersAreRoots reports whether the kernel keeps ordinary users from filters of TCP
// sockets, as newer ones do.
func filtersAreRoots(t testing.TB) bool {
	t.Helper()
	p := testnet.Start(t, nobody, "filter")
	line := p.Line(t)
	p.End(t)
	return line == unix.EPERM.Error()
}

// filter prints what a listener's filter of packets returns.
func filter([]string) error {
	ln, err := reuse.Port.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	fmt.Println(setsockopt(raw, func(fd int) error {
		all := &unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: 0x06, K: 1 << 31}}
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, all)
	}))
	return nil
}

// A listener that was adopted among others and cannot probe does not know its
// slot. An ordinary user's Drain says so, and the server keeps its share; root's
// drops the SYNs that are meant for it, and loses nothing.
func TestUnknownSlot(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedArguments(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	first := start(t, nobody, "serve")
	server := start(t, nobody, "forbidden", "md5sig", "-adopt")
	server.tell(t, "drain")
	if !filtersAreRoots(t) {
		server.expect(t, "drained") // as root's, below
	} else {
		if line := server.expect(t, "unknown"); !strings.Contains(line, "SO_ATTACH_FILTER") {
			t.Errorf("%q does not tell what it tried", line)
		}
		if got := shares(t, addr); len(got) != 2 {
			t.Errorf("%v answer, want both", got)
		}
	}
	server.end(t)
	first.end(t)

	lossless(t, func(drain bool) (lost int) {
		first := start(t, 0, "serve")
		server := start(t, 0, "forbidden", "md5sig", "-adopt")
		clients := start(t, nobody, "load")
		if drain {
			server.tell(t, "drain")
			server.expect(t, "drained")
		}
		server.end(t)
		ok, lost, slow := clients.counts(t)
		t.Logf("drain %v: %d connections, %d lost, %d slow", drain, ok, lost, slow)
		first.end(t)
		return lost
	})

	// Its successor dies: it takes SYNs again.
	first = start(t, 0, "serve")
	server = start(t, 0, "forbidden", "md5sig", "-adopt")
	server.tell(t, "drain")
	server.expect(t, "drained")
	first.Stop(t)
	server.tell(t, "drain")
	server.expect(t, "alone")
	if pid := ask(t, addr); pid != server.pid() {
		t.Errorf("%d answers, want %d", pid, server.pid())
	}
	server.end(t)
}

// Without the sandbox the same listener learns its slot.
func TestAdopted(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	first := start(t, os.Getuid(), "serve")
	server := start(t, os.Getuid(), "serve", "-adopt")
	server.tell(t, "drain")
	server.expect(t, "drained")
	if got := shares(t, addr); len(got) != 1 || got[first.pid()] == 0 {
		t.Errorf("%v answer, want %d", got, first.pid())
	}
}
