package handover_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// stepped is serveKind that sends itself a signal right before a certain system
// call of those that a handover is made of. Its arguments are the signal; the number
// of the call; from where it is counted: "listen", from the beginning until it
// listens, or "drain", from that command on, through Close; and the kind. There may be
// fewer calls than in another process. "count" prints the number of calls.
//
// A seccomp filter asks another goroutine before each of these calls
// (SECCOMP_RET_USER_NOTIF).
func stepped(args []string) error {
	signal, err1 := strconv.Atoi(args[0])
	at, err2 := strconv.Atoi(args[1])
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%q", args)
	}
	var counts, ended atomic.Bool
	var calls atomic.Int64
	counts.Store(args[2] == "listen")
	if err := obey(&counts, &calls); err != nil {
		return err
	}
	filter := []unix.SockFilter{{Code: 0x20, K: 0}} // the number of the system call
	// None of those that package runtime makes, too, or does not see: it would
	// wait for them where the other goroutine waits for it.
	numbers := []uint32{unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT, unix.SYS_MEMBARRIER, unix.SYS_SENDTO, unix.SYS_CONNECT, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_SHUTDOWN}
	for i, n := range numbers {
		filter = append(filter, unix.SockFilter{Code: 0x15, K: n, Jt: uint8(len(numbers) - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: 0x06, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: 0x06, K: unix.SECCOMP_RET_USER_NOTIF})
	fd, err := testnet.Seccomp(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH, filter)
	if err != nil {
		fmt.Println("unable", err)
		return nil
	}
	go func() {
		for {
			var asked struct { // struct seccomp_notif
				id         uint64
				pid, flags uint32
				nr         int32
				arch       uint32
				rest       [7]uint64
			}
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&asked))); errno != 0 {
				continue // interrupted, or what asked was
			}
			if counts.Load() && calls.Add(1) == int64(at) && !ended.Load() {
				fmt.Println("step", at, asked.nr)
				unix.Kill(os.Getpid(), unix.Signal(signal))
			}
			answer := struct { // struct seccomp_notif_resp
				id           uint64
				value        int64
				error, flags uint32
			}{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
			// If the call was interrupted it asks again.
			unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer)))
		}
	}()
	err = serveAs(args[3:], func() { ended.Store(args[2] == "listen") })
	fmt.Println("calls", calls.Load())
	return err
}

// serveKind serves as scarceKinds do, and answers with its process id. It obeys its
// standard input: "drain" and "close".
func serveKind(args []string) error { return serveAs(args, func() {}) }

// serveAs calls listening when it listens, at an address that may follow the kind.
func serveAs(args []string, listening func()) error {
	address := addr
	if len(args) > 1 {
		address = args[1]
	}
	server, err := scarceKinds[args[0]](address)
	if err != nil {
		return err
	}
	listening()
	fmt.Println("listening", os.Getpid())
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	var drains sync.WaitGroup
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "cancel":
			cancel()
		case "drain":
			drains.Go(func() {
				err := server.drain(ctx)
				fmt.Println(outcome(err), err)
			})
		case "close":
			drains.Wait()
			return server.close()
		}
	}
	return in.Err()
}

// obey takes the commands for stepped out of the standard input.
func obey(counts *atomic.Bool, calls *atomic.Int64) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	in := os.Stdin
	os.Stdin = r
	go func() {
		defer w.Close()
		for lines := bufio.NewScanner(in); lines.Scan(); {
			switch lines.Text() {
			case "count":
				fmt.Println("calls", calls.Load())
				continue
			case "drain":
				counts.Store(true)
			}
			fmt.Fprintln(w, lines.Text())
		}
	}()
	return nil
}

// ordinary is a user without privileges, who makes fewer calls.
func ordinary() int {
	if os.Getuid() == 0 {
		return nobody
	}
	return os.Getuid()
}

// startStepped starts one that gets a signal at step number at.
func startStepped(t testing.TB, kind string, signal unix.Signal, at int, from string, address ...string) process {
	t.Helper()
	args := []string{strconv.Itoa(int(signal)), strconv.Itoa(at), from, kind}
	return process{testnet.Start(t, ordinary(), "stepped", append(args, address...)...)}
}

// connects makes n requests, each on a connection of its own, or as a datagram from
// a port of its own. They may have to wait: heard reads the answers, and returns
// who answered.
func connects(t testing.TB, kind string, n int) (heard func() []int) {
	t.Helper()
	network, address, request := "tcp", addr, "x"
	switch kind {
	case "ListenPacket":
		network, address = "udp6", "[::1]:9999"
	case "HTTP":
		request = "GET / HTTP/1.0\r\n\r\n"
	}
	var conns []net.Conn
	for range n {
		conn, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return func() (pids []int) {
		for _, conn := range conns {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(guard))
			in := bufio.NewReader(conn)
			pid, err := 0, error(nil)
			if kind == "HTTP" {
				_, err = http.ReadResponse(in, nil)
			}
			if err == nil {
				_, err = fmt.Fscanln(in, &pid)
			}
			if err != nil {
				t.Errorf("a request is not answered: %v", err)
			}
			pids = append(pids, pid)
		}
		return pids
	}
}

// serves fails the test unless p alone answers, at once.
func serves(t testing.TB, kind string, p process) {
	t.Helper()
	for range 20 {
		if pid := connects(t, kind, 1)()[0]; pid != p.pid() {
			t.Errorf("%d answers, want %d", pid, p.pid())
		}
	}
}

// someSteps returns n numbers from 1 to most, or all, the first and the last among
// them.
func someSteps(most, n int) []int {
	var steps []int
	for i := range n {
		steps = append(steps, 1+i*(most-1)/max(n-1, 1))
	}
	return slices.Compact(steps)
}

// replaceBy hands the port over, to a process that listens already.
func (p process) replaceBy(t testing.TB, kind string, next process) process {
	t.Helper()
	p.tell(t, "drain")
	p.expect(t, "drained")
	p.end(t)
	serves(t, kind, next)
	return next
}

// countSteps returns how many calls a handover takes: of the successor until it
// listens, and of the old one in Drain and in Close.
func countSteps(t *testing.T, kind string) (listening, draining, closing int) {
	t.Helper()
	server := start(t, ordinary(), "serve kind", kind)
	p := startStepped(t, kind, unix.SIGKILL, 0, "listen")
	if line := p.expect(t, "listening", "unable"); strings.HasPrefix(line, "unable") {
		t.Skipf("needs seccomp's notifications: %s", line)
	}
	count := func(command string) (n int) {
		p.tell(t, command)
		if _, err := fmt.Sscanf(p.expect(t, "calls"), "calls %d", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	listening = count("count")
	p.tell(t, "drain")
	p.expect(t, "drained")
	draining = count("count") - listening
	closing = count("close") - draining - listening
	p.Wait()
	server.Stop(t)
	return listening, draining, closing
}
