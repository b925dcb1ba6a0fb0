package reuse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// together calls f for 0 to n-1 in goroutines that begin at once.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// sealing binds as ListenPacket does over somebody's socket, without the lock.
func sealing(_, address string) (net.PacketConn, error) {
	config := net.ListenConfig{Control: testnet.ReuseAddr.Control}
	pc, err := config.ListenPacket(context.Background(), "udp4", address)
	if err != nil {
		return nil, err
	}
	c, err := pc.(syscall.Conn).SyscallConn()
	if err == nil {
		err = testnet.NoOption.Control("udp4", address, c)
	}
	if err != nil {
		pc.Close()
		return nil, err
	}
	return pc, nil
}

// winners lets two starters bind address at the same time, and returns how many of
// them got the port.
func winners(t testing.TB, listen func(network, address string) (net.PacketConn, error), address string) int {
	t.Helper()
	var pcs [2]net.PacketConn
	var errs [2]error
	together(2, func(i int) { pcs[i], errs[i] = listen("udp4", address) })
	won := 0
	for i, pc := range pcs {
		if errs[i] == nil {
			won++
			pc.Close()
		} else {
			wantInUse(t, "the loser", errs[i])
		}
	}
	return won
}

// oneWins fails the test unless one of two starters gets the port each time.
func oneWins(t testing.TB, address string, rounds int) {
	t.Helper()
	for range rounds {
		if won := winners(t, reuse.ListenPacket, address); won != 1 {
			t.Fatalf("%d of 2 starters got the port", won)
		}
	}
}

// starterUDP is a process that binds its address for each line of its input, and
// closes the socket at the next one. It prints "won", "lost" or an error, and
// "closed". With "unlocked" it is a control.
func starterUDP(args []string) error {
	listen := reuse.ListenPacket
	if args[1] == "unlocked" {
		listen = sealing
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		pc, err := listen("udp4", args[0])
		switch {
		case err == nil:
			fmt.Println("won")
		case errors.Is(err, unix.EADDRINUSE):
			fmt.Println("lost")
		default:
			fmt.Println(err)
		}
		lines.Scan()
		if err == nil {
			pc.Close()
		}
		fmt.Println("closed")
	}
	return lines.Err()
}

// twoStarters starts two processes, and returns a function that lets both bind
// address at the same time, and returns how many of them got the port.
func twoStarters(t testing.TB, address, kind string) func() int {
	t.Helper()
	var processes []*testnet.Process
	for range 2 {
		processes = append(processes, testnet.Start(t, os.Getuid(), "starterUDP", address, kind))
	}
	tell := func() (lines []string) {
		for _, p := range processes {
			if _, err := fmt.Fprintln(p.In); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range processes {
			lines = append(lines, p.Line(t))
		}
		return lines
	}
	return func() (won int) {
		for _, line := range tell() {
			switch line {
			case "won":
				won++
			case "lost":
			default:
				t.Fatal("a starter: ", line)
			}
		}
		tell()
		return won
	}
}

// Again and again, of two starters over somebody's socket one gets the port. Without
// the lock both do now and then, which is the control at length.
func TestManyStartersUDP(t *testing.T) {
	if goesByBind(t) {
		t.Skip("needs a kernel that goes by the options that sockets have now")
	}
	rounds := testnet.Rounds(2000, 50)
	address := holdUDP(t, "127.0.0.1:0").LocalAddr().String()
	for _, test := range []struct {
		name            string
		start, unlocked func() int
	}{
		{"goroutines",
			func() int { return winners(t, reuse.ListenPacket, address) },
			func() int { return winners(t, sealing, address) }},
		{"processes", twoStarters(t, address, ""), twoStarters(t, address, "unlocked")},
	} {
		both := 0
		for range rounds {
			if won := test.start(); won != 1 {
				t.Fatalf("%s: %d of 2 starters got the port", test.name, won)
			}
			if testnet.Long && test.unlocked() == 2 {
				both++
			}
		}
		if !testnet.Long {
			continue
		}
		t.Logf("%s: without the lock both got the port in %d of %d rounds", test.name, both, rounds)
		if both == 0 {
			t.Errorf("%s: the control excludes the second, too", test.name)
		}
	}
}

// Of two that start at the same time one gets the port: a free one, or one over
// somebody's socket with SO_REUSEADDR. Both would if they set the option, bound and
// cleared it, each when it likes, as the control does.
func TestStartersUDP(t *testing.T) {
	oneWins(t, net.JoinHostPort("127.0.0.1", ownPort()), 100)
	if goesByBind(t) {
		return // there nobody gets a port over a socket
	}
	there := holdUDP(t, "127.0.0.1:0")
	oneWins(t, there.LocalAddr().String(), 100)

	var fds []int
	for range 2 {
		fd, err := testnet.Bind(unix.SOCK_DGRAM, there.LocalAddr().(*net.UDPAddr).AddrPort(), false, testnet.ReuseAddr)
		if err != nil {
			t.Fatalf("the control cannot bind: %v", err)
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		if err := testnet.NoOption.Set(fd); err != nil {
			t.Fatal(err)
		}
	}
}

// holdUDP returns a socket with SO_REUSEADDR, which ListenPacket binds over.
func holdUDP(t testing.TB, address string) net.PacketConn {
	t.Helper()
	config := net.ListenConfig{Control: testnet.ReuseAddr.Control}
	pc, err := config.ListenPacket(t.Context(), "udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// An otherStarter is another one that binds over a UDP socket, as far as the first can
// see: it has the lock of the port.
type otherStarter struct {
	fd   int
	addr netip.AddrPort
}

// newOtherStarter takes the lock. With a backlog of -1 it does not listen.
func newOtherStarter(t testing.TB, addr net.Addr, backlog int) otherStarter {
	t.Helper()
	s := otherStarter{-1, addr.(*net.UDPAddr).AddrPort()}
	var err error
	if s.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	err = unix.Bind(s.fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@reuse-udp-%d", s.addr.Port())})
	if err == nil && backlog >= 0 {
		err = unix.Listen(s.fd, backlog)
	}
	if err != nil {
		unix.Close(s.fd)
		t.Fatal(err)
	}
	return s
}

// waited returns when somebody waits for the end of s.
func (s otherStarter) waited(t testing.TB) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(testnet.Slow(10*time.Second).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Errorf("nobody waits for the other starter: %v", err)
		}
		return
	}
}

// A starter that comes while another one binds waits for that, and finds the port
// sealed; or, in the control, as it was.
func TestSealedWaits(t *testing.T) {
	if goesByBind(t) {
		t.Skip("needs a kernel that goes by the options that sockets have now")
	}
	for _, sealed := range []bool{true, false} {
		there := holdUDP(t, "127.0.0.1:0")
		other := newOtherStarter(t, there.LocalAddr(), 5)
		var pc net.PacketConn
		var err error
		var starter sync.WaitGroup
		starter.Go(func() { pc, err = reuse.ListenPacket("udp4", there.LocalAddr().String()) })
		other.waited(t)
		if sealed {
			fd, err := testnet.Bind(unix.SOCK_DGRAM, other.addr, false, testnet.ReuseAddr)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := testnet.NoOption.Set(fd); err != nil {
				t.Fatal(err)
			}
		}
		unix.Close(other.fd)
		starter.Wait()
		if err == nil {
			pc.Close()
		}
		if sealed {
			wantInUse(t, "after another starter", err)
		} else if err != nil {
			t.Errorf("the control: %v", err)
		}
	}
}

// Who keeps the lock keeps a starter for a moment, and from a second bind only.
func TestSealedLocked(t *testing.T) {
	if goesByBind(t) {
		t.Skip("needs a kernel that goes by the options that sockets have now")
	}
	const others = 3
	var there [others]net.PacketConn
	var locks [others]string
	for i, backlog := range []int{5, -1, 0} { // it listens, is bound only, and is full
		there[i] = holdUDP(t, "127.0.0.1:0")
		other := newOtherStarter(t, there[i].LocalAddr(), backlog)
		defer unix.Close(other.fd)
		locks[i] = fmt.Sprintf("@reuse-udp-%d", other.addr.Port())
		if backlog == 0 {
			client, err := net.Dial("unix", locks[i])
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := net.Dial("unix", locks[i]); !errors.Is(err, unix.EAGAIN) {
				t.Fatalf("the backlog is not full: %v", err)
			}
		}
		// What needs no second bind does not look at the lock.
		listenPacket(t, reuse.ListenPacket, fmt.Sprintf("127.0.0.2:%d", other.addr.Port()))
	}
	before := testnet.Descriptors(t)
	var pcs [others]net.PacketConn
	var errs [others]error
	together(others, func(i int) { pcs[i], errs[i] = reuse.ListenPacket("udp4", there[i].LocalAddr().String()) })
	for i, err := range errs {
		wantInUse(t, "locked out", err)
		if err == nil {
			pcs[i].Close()
		} else if !strings.Contains(err.Error(), locks[i]) {
			t.Errorf("%v, want that it names %s", err, locks[i])
		}
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

// The lock is the port's, and who starts at another address of it gets that.
func TestSealedElsewhere(t *testing.T) {
	if goesByBind(t) {
		t.Skip("needs a kernel that goes by the options that sockets have now")
	}
	first := holdUDP(t, "127.0.0.1:0")
	addresses := []string{first.LocalAddr().String(), fmt.Sprintf("127.0.0.2:%d", first.LocalAddr().(*net.UDPAddr).Port)}
	holdUDP(t, addresses[1])
	for range 50 {
		together(2, func(i int) {
			pc, err := reuse.ListenPacket("udp4", addresses[i])
			if err != nil {
				t.Error(err)
				return
			}
			pc.Close()
		})
	}
}

// sandboxed is a process that calls ListenPacket where a sandbox has no unix
// sockets, if the second argument is "sandbox", and prints the error.
func sandboxed(args []string) error {
	if args[1] == "sandbox" {
		_, err := testnet.Seccomp(0, []unix.SockFilter{
			{Code: 0x20, K: 0}, // the number of the system call
			{Code: 0x15, K: unix.SYS_SOCKET, Jf: 3},
			{Code: 0x20, K: 16 + testnet.LowWord()}, // its first argument
			{Code: 0x15, K: unix.AF_UNIX, Jf: 1},
			{Code: 0x06, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
			{Code: 0x06, K: unix.SECCOMP_RET_ALLOW},
		})
		if err != nil {
			return err
		}
	}
	pc, err := reuse.ListenPacket("udp4", args[0])
	if err == nil {
		pc.Close()
	}
	fmt.Println(errors.Is(err, unix.EADDRINUSE), errors.Is(err, unix.EAFNOSUPPORT), err)
	return nil
}

// Without the lock there is no second bind.
func TestSealedSandbox(t *testing.T) {
	testnet.NeedArguments(t)
	if goesByBind(t) {
		t.Skip("needs a kernel that goes by the options that sockets have now")
	}
	there := holdUDP(t, "127.0.0.1:0").LocalAddr().String()
	got := testnet.Start(t, os.Getuid(), "sandboxed", there, "sandbox").Line(t)
	if want := "true true listen udp4 " + there + ": "; !strings.HasPrefix(got, want) {
		t.Errorf("in a sandbox: %q, want %q", got, want)
	}
	got = testnet.Start(t, os.Getuid(), "sandboxed", there, "").Line(t)
	if want := "false false <nil>"; got != want {
		t.Errorf("the control: %q, want %q", got, want)
	}
}
