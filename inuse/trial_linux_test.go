package inuse_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

var trialAddr = netip.MustParseAddrPort("127.0.0.1:9999")

// plainStarter is a process that begins to listen, without options, as long after each
// line as that says; then it prints whether it may, and at the next line it ends that.
func plainStarter([]string) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		after, err := time.ParseDuration(lines.Text())
		if err != nil {
			return err
		}
		for start := time.Now(); time.Since(start) < after; {
		}
		fd, err := testnet.Bind(unix.SOCK_STREAM, trialAddr, false, testnet.NoOption)
		if err == nil {
			err = unix.Listen(fd, 1)
		}
		switch {
		case err == nil:
			fmt.Println("listening")
		case errors.Is(err, unix.EADDRINUSE):
			fmt.Println("refused")
		default:
			return err
		}
		if !lines.Scan() {
			break
		}
		if fd >= 0 {
			unix.Close(fd)
		}
		fmt.Println("closed")
	}
	return lines.Err()
}

// trier is a process that binds on trial, with SO_REUSEADDR and for a moment, again and
// again.
func trier([]string) error {
	fmt.Println("trying")
	for {
		fd, err := testnet.Bind(unix.SOCK_STREAM, trialAddr, false, testnet.ReuseAddr)
		if err == nil {
			unix.Close(fd)
		} else if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
	}
}

// A look takes a free port from nobody, not for a moment either: a server that begins
// to listen at that time and has no options is not refused.
func TestLookRefusesNobody(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	if !listsBound(t) {
		t.Skip("needs a kernel that lists sockets that are bound only (6.8)")
	}
	inUse := &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(trialAddr), Err: os.NewSyscallError("bind", unix.EADDRINUSE)}
	look := func() *inuse.Error {
		e, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(t.Context(), inUse))
		if !ok {
			t.Fatal("not explained")
		}
		return e
	}
	if e := look(); e.Cause != inuse.CauseFree {
		t.Fatal(e)
	}
	starter := testnet.Start(t, os.Getuid(), "plainStarter")
	// starts returns how many of so many servers are refused beside what f does.
	starts := func(n int, f func()) (refused int) {
		t.Helper()
		start := time.Now()
		for range 10 {
			f()
		}
		most := time.Since(start) / 10
		for i := range n {
			fmt.Fprintln(starter.In, most*time.Duration(i)/time.Duration(n))
			f()
			switch line := starter.Line(t); line {
			case "listening":
			case "refused":
				refused++
			default:
				t.Fatalf("it prints %q", line)
			}
			fmt.Fprintln(starter.In, "close")
			if line := starter.Line(t); line != "closed" {
				t.Fatalf("it prints %q", line)
			}
		}
		return refused
	}
	times := testnet.Rounds(200, 20)
	if refused := starts(times, func() { look() }); refused > 0 {
		t.Errorf("%d of %d servers are refused beside looks", refused, times)
	}
	p := testnet.Start(t, os.Getuid(), "trier")
	p.Line(t)
	refused, of := 0, 0
	for ; refused == 0 && of < 10000; of += 100 {
		refused = starts(100, func() {})
	}
	if refused == 0 {
		t.Error("the control: trials refuse nobody")
	}
	t.Logf("control: %d of %d are refused beside trials", refused, of)
}
