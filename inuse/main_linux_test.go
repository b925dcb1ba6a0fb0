package inuse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// TestMain also runs the processes that tests start.
func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{
		"binder":         binder,
		"blindExplainer": blindExplainer,
		"explainer":      explainer,
		"texter":         texter,
		"unixHolder":     unixHolder,
		"heir":           heir,
		"hostile":        hostile,
		"hostileHeard":   hostileHeard,
		"hostileHolder":  hostileHolder,
		"holder":         holder,
		"plainStarter":   plainStarter,
		"service":        service,
		"trier":          trier,
		"asker":          asker,
		"odd":            testnet.Odd,
		"seer":           seer,
	})
}

// modes are those by which an address can be had.
var modes = []reuse.Mode{reuse.Addr, reuse.Port}

// explained returns the explanation of err, and fails the test if there is none
// or if it has lost what it explains.
func explained(t testing.TB, err error) *inuse.Error {
	t.Helper()
	if err == nil {
		t.Fatal("nothing to explain")
	}
	got := inuse.ExplainContext(t.Context(), err) // Explain may run out of time on a busy machine
	e, ok := errors.AsType[*inuse.Error](got)
	if !ok {
		t.Fatalf("not explained: %v", got)
	}
	var op *net.OpError
	var errno syscall.Errno
	if !errors.Is(got, err) || !errors.As(got, &op) || !errors.As(got, &errno) || !errors.Is(got, errno) {
		t.Errorf("%v does not wrap %v", got, err)
	}
	if !strings.HasPrefix(e.Error(), err.Error()) {
		t.Errorf("text %q", e)
	}
	for _, h := range e.Holders {
		if h.Count < 1 || h.Name == "" || h.Network == "" || h.State == "" {
			t.Errorf("incomplete holder %+v", h)
		}
	}
	if again := inuse.Explain(got); again != got {
		t.Errorf("explained twice: %v", again)
	}
	t.Log(e)
	return e
}

// wantCause fails the test unless e has the cause, and n holders.
func wantCause(t testing.TB, e *inuse.Error, cause inuse.Cause, n int) {
	t.Helper()
	if e.Cause != cause || len(e.Holders) != n {
		t.Errorf("cause %q with %d holders; want %q with %d: %v", e.Cause, len(e.Holders), cause, n, e)
	}
}

// wantRemedies fails the test unless e has these kinds.
func wantRemedies(t testing.TB, e *inuse.Error, kinds ...string) {
	t.Helper()
	var got []string
	for _, r := range e.Remedies {
		got = append(got, r.Kind)
	}
	if !slices.Equal(got, kinds) {
		t.Errorf("remedies %q, want %q: %v", got, kinds, e)
	}
}

// listens fails the test unless the address can be had.
func listens(t testing.TB, m reuse.Mode, network, address string) {
	t.Helper()
	if strings.HasPrefix(network, "udp") || network == "unixgram" {
		pc, err := m.ListenPacket(network, address)
		if err != nil {
			t.Errorf("the advice does not help: %v", err)
			return
		}
		pc.Close()
		return
	}
	ln, err := m.Listen(network, address)
	if err != nil {
		t.Errorf("the advice does not help: %v", err)
		return
	}
	ln.Close()
}

// failed returns the error of a listen that has to fail.
func failed(t testing.TB, m reuse.Mode, network, address string) error {
	t.Helper()
	var err error
	var closer interface{ Close() error }
	if strings.HasPrefix(network, "udp") || network == "unixgram" {
		closer, err = m.ListenPacket(network, address)
	} else {
		closer, err = m.Listen(network, address)
	}
	if err == nil {
		closer.Close()
		t.Fatalf("%s %s is free", network, address)
	}
	return err
}

// holder is a process that holds addresses. It reads lines of
// "KIND ADDRESS V6ONLY OPTIONS", and answers each with "ok". KIND is listen,
// bind, udp or udpclient, which is connected; heir starts a process that inherits all that is held;
// accept puts a connection in the place of the last listener; close closes
// them all. With try- before it the answer may be "refused".
func holder([]string) error {
	var held []*os.File
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var kind, address string
		var v6only bool
		var options int
		fmt.Sscan(lines.Text(), &kind, &address, &v6only, &options)
		switch kind {
		case "heir":
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), "TESTNET_PROGRAM=heir")
			cmd.ExtraFiles = held
			in, err := cmd.StdinPipe() // at its end the heir ends, too
			if err != nil {
				return err
			}
			defer in.Close()
			out, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				return fmt.Errorf("heir: %q, %w", line, err)
			}
			fmt.Println(cmd.Process.Pid)
			continue
		case "accept":
			last := &held[len(held)-1]
			fd, _, err := unix.Accept4(int((*last).Fd()), unix.SOCK_CLOEXEC)
			if err != nil {
				return err
			}
			(*last).Close()
			*last = os.NewFile(uintptr(fd), "connection")
		case "close":
			for _, f := range held {
				f.Close()
			}
			held = nil
		default:
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			kind, try := strings.CutPrefix(kind, "try-")
			socket := unix.SOCK_STREAM
			if strings.HasPrefix(kind, "udp") {
				socket = unix.SOCK_DGRAM
			}
			fd, err := testnet.Bind(socket, addr, v6only, testnet.Options(options))
			if err != nil && try {
				fmt.Println("refused")
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", lines.Text(), err)
			}
			if kind == "udpclient" {
				if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: addr.Addr().As4()}); err != nil {
					return err
				}
			}
			if kind == "listen" {
				if err := unix.Listen(fd, 16); err != nil && try {
					unix.Close(fd)
					fmt.Println("refused")
					continue
				} else if err != nil {
					return err
				}
			}
			held = append(held, os.NewFile(uintptr(fd), "held"))
		}
		fmt.Println("ok")
	}
	return lines.Err()
}

// heir is what holder starts.
func heir([]string) error {
	fmt.Println("ok")
	bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

// explainer is a process that is refused an address and explains why.
func explainer(args []string) error {
	mode, _ := strconv.Atoi(args[0])
	var err error
	if strings.HasPrefix(args[1], "udp") {
		_, err = reuse.Mode(mode).ListenPacket(args[1], args[2])
	} else {
		_, err = reuse.Mode(mode).Listen(args[1], args[2])
	}
	e, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(context.Background(), err))
	if !ok {
		return fmt.Errorf("not explained: %w", err)
	}
	fmt.Printf("%s %d %d %s\n", e.Cause, len(e.Holders), len(e.Unseen), strings.ReplaceAll(e.Error(), "\n", " "))
	return nil
}

// hold lets a process of user uid hold an address.
func hold(t testing.TB, uid int, kind, address string, o testnet.Options) *testnet.Process {
	t.Helper()
	p := testnet.Start(t, uid, "holder")
	holdMore(t, p, kind, address, false, o)
	return p
}

func holdMore(t testing.TB, p *testnet.Process, kind, address string, v6only bool, o testnet.Options) {
	t.Helper()
	fmt.Fprintln(p.In, kind, address, v6only, int(o))
	if line := p.Line(t); line != "ok" {
		t.Fatalf("holder: %q", line)
	}
}
