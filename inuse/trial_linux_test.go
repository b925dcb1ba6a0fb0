package inuse_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

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

// binder is a process that explains why args[0] is refused, as if it had been, and prints
// how often it binds a socket to that port, and the cause. A filter asks another
// goroutine before each bind (SECCOMP_RET_USER_NOTIF).
func binder(args []string) error {
	addr := netip.MustParseAddrPort(args[0])
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return err
	}
	fd, err := testnet.Seccomp(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH, []unix.SockFilter{
		{Code: 0x20, K: 0}, // the number of the system call
		{Code: 0x15, K: unix.SYS_BIND, Jf: 1},
		{Code: 0x06, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: 0x06, K: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		fmt.Println("unable", err)
		return nil
	}
	var binds atomic.Int64
	go func() {
		for {
			var asked struct { // struct seccomp_notif
				id          uint64
				pid, flags  uint32
				nr          int32
				arch        uint32
				instruction uint64
				args        [6]uint64
			}
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked))); errno != 0 {
				continue // interrupted, or what asked was
			}
			var sockaddr [4]byte // the family, and of IPv4 and IPv6 the port
			memory.ReadAt(sockaddr[:], int64(asked.args[1]))
			family := binary.NativeEndian.Uint16(sockaddr[:])
			if (family == unix.AF_INET || family == unix.AF_INET6) && binary.BigEndian.Uint16(sockaddr[2:]) == addr.Port() {
				binds.Add(1)
			}
			answer := struct { // struct seccomp_notif_resp
				id           uint64
				value        int64
				error, flags uint32
			}{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
			unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer)))
		}
	}()
	e, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(context.Background(), inUseAt(addr)))
	if !ok {
		return errors.New("not explained")
	}
	fmt.Println(binds.Load() > 0, e.Cause)
	return nil
}

func inUseAt(addr netip.AddrPort) error {
	return &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: os.NewSyscallError("bind", unix.EADDRINUSE)}
}

// A port that nobody is seen to have is not bound on trial. The control: a held one is.
func TestNoTrialOfFreePort(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedArguments(t)
	testnet.Namespace(t)
	if !listsBound(t) {
		t.Skip("needs a kernel that lists sockets that are bound only (6.8)")
	}
	for _, address := range []string{"127.0.0.1:9999", "0.0.0.0:9999", "[::1]:9999", "[::]:9999"} {
		says := func(want string) {
			t.Helper()
			line := testnet.Start(t, os.Getuid(), "binder", address).Line(t)
			if strings.HasPrefix(line, "unable") {
				t.Skipf("needs SECCOMP_RET_USER_NOTIF: %s", line)
			}
			if line != want {
				t.Errorf("%s: %q, want %q", address, line, want)
			}
		}
		says("false free")
		p := hold(t, os.Getuid(), "listen", address, testnet.ReuseAddr)
		says("true listener")
		p.Stop(t)
		says("false free")
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
	look := func() *inuse.Error {
		e, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(t.Context(), inUseAt(trialAddr)))
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
