package handover_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testnet.Main(m, map[string]func([]string) error{
		"serve":          serve,
		"load":           load,
		"serve udp":      serveUDP,
		"load udp":       loadUDP,
		"serve http":     serveHTTP,
		"load http":      loadHTTP,
		"forbidden":      forbidden,
		"foreign":        foreign,
		"service":        service,
		"refused":        refused,
		"refused new":    refusedNew,
		"behind":         behind,
		"uptime":         uptime,
		"scarce close":   scarceClose,
		"scarce":         exhaust,
		"serve kind":     serveKind,
		"stepped":        stepped,
		"refused listen": refusedListen,
		"adopted":        adopted,
		"supported":      supportedHere,
	})
}

// guard is how long a test waits for what should take no time.
var guard = testnet.Slow(60 * time.Second)

// serve answers connections with its process id. It obeys its standard input:
// "drain" and "cancel", which ends the drain's context; "work", upon which it says
// when it has answered a hundred; "close" and "finish", which are the same; and, if
// it is silent, "go on".
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	network := flags.String("net", "tcp", "")
	addr := flags.String("addr", "127.0.0.1:9999", "")
	plain := flags.Bool("plain", false, "without package handover")
	backlog := flags.Int("backlog", 0, "")
	deferred := flags.Int("defer", 0, "")
	device := flags.String("device", "", "")
	adopt := flags.Bool("adopt", false, "New instead of Listen")
	silent := flags.Bool("silent", false, "accept nothing until go on")
	drop := flags.Bool("drop", false, "give up all privileges when the socket is open")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config := reuse.Port.ListenConfig()
	config.Control = reuse.Port.With(func(_, _ string, c syscall.RawConn) error {
		if *device == "" {
			return nil
		}
		return setsockopt(c, func(fd int) error {
			return unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, *device)
		})
	})
	var ln net.Listener
	var own *handover.Listener
	var err error
	if *device != "" || *plain || *adopt {
		ln, err = config.Listen(context.Background(), *network, *addr)
		if err == nil && !*plain {
			own, err = handover.New(ln)
			ln = own
		}
	} else {
		own, err = handover.Listen(*network, *addr)
		ln = own
	}
	if err != nil {
		return err
	}
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	if !*silent {
		if err := listenNow(ln); err != nil {
			return err
		}
	}
	err = setsockopt(raw, func(fd int) error {
		if *backlog > 0 {
			if err := unix.Listen(fd, *backlog); err != nil {
				return err
			}
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, *deferred)
	})
	if err != nil {
		return err
	}

	if *drop {
		if err := syscall.Setuid(nobody); err != nil {
			return err
		}
	}
	accepting := make(chan struct{})
	if !*silent {
		close(accepting)
	}
	var handlers, drains sync.WaitGroup
	var answered atomic.Int64
	hundred := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-accepting
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() {
				answer(conn)
				if answered.Add(1) == 100 {
					close(hundred)
				}
			})
		}
	}()
	fmt.Println("listening", os.Getpid())
	cancel := func() {}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "go on":
			close(accepting)
		case "drain", "drain briefly":
			timeout := guard
			if in.Text() != "drain" {
				timeout = testnet.Slow(300 * time.Millisecond)
			}
			ctx, end := context.WithTimeout(context.Background(), timeout)
			cancel = end
			drains.Go(func() {
				defer end()
				start := time.Now()
				err := own.Drain(ctx)
				fmt.Println(outcome(err), time.Since(start).Microseconds(), err)
			})
		case "cancel":
			cancel()
		case "work":
			<-hundred
			fmt.Println("worked")
		case "close", "finish":
			drains.Wait()
			ln.Close()
			<-done
			handlers.Wait()
			return nil
		}
	}
	return in.Err()
}

// listenNow makes a listener listen before somebody accepts.
func listenNow(ln net.Listener) error {
	own, ok := ln.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return nil
	}
	if err := own.SetDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	if _, err := ln.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("accept after the deadline: %w", err)
	}
	return own.SetDeadline(time.Time{})
}

// untilListening returns when a socket listens that somebody accepts from.
func untilListening(c syscall.RawConn) error {
	for deadline := time.Now().Add(guard); ; time.Sleep(time.Millisecond) {
		listens := 0
		err := setsockopt(c, func(fd int) (err error) {
			listens, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
			return err
		})
		if err != nil || listens != 0 {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the socket does not listen")
		}
	}
}

// listens returns when a listener listens that somebody accepts from.
func listens(t testing.TB, ln syscall.Conn) {
	t.Helper()
	c, err := ln.SyscallConn()
	if err == nil {
		err = untilListening(c)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// listenEarly is handover.Listen that listens before somebody accepts.
func listenEarly(t testing.TB, network, address string) *handover.Listener {
	t.Helper()
	plain, err := reuse.Port.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := handover.New(plain)
	if err != nil {
		plain.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// outcome is a word for what a Drain returned.
func outcome(err error) string {
	switch {
	case err == nil:
		return "drained"
	case errors.Is(err, handover.ErrNoSuccessor):
		return "alone"
	case errors.Is(err, handover.ErrUnknownSlot):
		return "unknown"
	case errors.Is(err, errors.ErrUnsupported):
		return "unsupported"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "ended"
	case errors.Is(err, unix.EPERM):
		return "refused"
	}
	return "error"
}

func setsockopt(c syscall.RawConn, set func(fd int) error) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = set(int(fd)) })
	return errors.Join(err, failed)
}

func answer(conn net.Conn) {
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return
	}
	fmt.Fprintln(conn, os.Getpid())
	io.Copy(io.Discard, conn) // the client closes first
}

// load connects again and again, and counts, until a line or the end of its standard
// input.
func load(args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	clients := flags.Int("n", testnet.Rounds(64, 24), "")
	network := flags.String("net", "tcp", "")
	addr := flags.String("addr", "127.0.0.1:9999", "")
	device := flags.String("device", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var ok, lost, slow atomic.Int64
	var stop atomic.Bool
	var first sync.Once
	var running sync.WaitGroup
	dialer := net.Dialer{Timeout: guard, Control: func(_, _ string, c syscall.RawConn) error {
		if *device == "" {
			return nil
		}
		return setsockopt(c, func(fd int) error {
			return unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, *device)
		})
	}}
	for range *clients {
		running.Go(func() {
			for !stop.Load() {
				start := time.Now()
				if err := request(dialer, *network, *addr); err != nil {
					if lost.Add(1) <= 3 {
						fmt.Fprintln(os.Stderr, "load:", err)
					}
				} else {
					ok.Add(1)
				}
				if time.Since(start) > 900*time.Millisecond {
					slow.Add(1)
				}
				if ok.Load() >= 100 {
					first.Do(func() { fmt.Println("running") })
				}
			}
		})
	}
	in := bufio.NewScanner(os.Stdin)
	stopped := in.Scan()
	stop.Store(true)
	running.Wait()
	if stopped {
		fmt.Println("stopped")
		in.Scan()
	}
	fmt.Println(ok.Load(), lost.Load(), slow.Load())
	return nil
}

func request(dialer net.Dialer, network, addr string) error {
	conn, err := dialer.Dial(network, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT, which would use up the ports
	conn.SetDeadline(time.Now().Add(guard))
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}
