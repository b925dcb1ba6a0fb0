package handover_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// An echo sends datagrams back.
type echo struct {
	*handover.PacketConn
	ended chan struct{}
}

func newEcho(network, address string) (*echo, error) {
	pc, err := handover.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	e := &echo{pc, make(chan struct{})}
	go func() {
		defer close(e.ended)
		for e.answer() == nil {
		}
	}()
	return e, nil
}

// answer sends the next datagram back.
func (e *echo) answer() error {
	buf := make([]byte, 16)
	n, from, err := e.ReadFromUDPAddrPort(buf)
	if err == nil {
		e.WriteToUDPAddrPort(buf[:n], from)
	}
	return err
}

// Close answers what was read before.
func (e *echo) Close() error {
	e.SetReadDeadline(time.Now())
	<-e.ended
	return e.PacketConn.Close()
}

// finish answers what has arrived, too.
func (e *echo) finish() error {
	e.SetReadDeadline(time.Now())
	<-e.ended
	e.SetReadDeadline(time.Time{})
	for readable(e) {
		if err := e.answer(); err != nil {
			return err
		}
	}
	return e.PacketConn.Close()
}

// readable reports whether a datagram waits in the socket.
func readable(conn syscall.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	fds := []unix.PollFd{{Events: unix.POLLIN}}
	raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		unix.Poll(fds, 0)
	})
	return fds[0].Revents&unix.POLLIN != 0
}

// serveUDP is an echo. It obeys "drain", "close" and "finish".
func serveUDP(args []string) error {
	flags := flag.NewFlagSet("serve udp", flag.ContinueOnError)
	network := flags.String("net", "udp4", "")
	addr := flags.String("addr", "127.0.0.1:9999", "")
	drop := flags.Bool("drop", false, "give up all privileges when the socket is open")
	if err := flags.Parse(args); err != nil {
		return err
	}
	e, err := newEcho(*network, *addr)
	if err != nil {
		return err
	}
	if *drop {
		if err := syscall.Setuid(nobody); err != nil {
			return err
		}
	}
	fmt.Println("listening", os.Getpid())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "drain":
			ctx, cancel := context.WithTimeout(context.Background(), guard)
			start := time.Now()
			err := e.Drain(ctx)
			cancel()
			fmt.Println(outcome(err), time.Since(start).Microseconds(), err)
		case "close":
			return e.Close()
		case "finish":
			return e.finish()
		}
	}
	return in.Err()
}

// A crowd are clients that send datagrams, also empty ones, and wait for each to
// come back.
type crowd struct {
	answered, lost atomic.Int64
	clients        sync.WaitGroup
	log            func(error)

	mu      sync.Mutex
	waiting map[*net.UDPConn]bool // for an answer
	stopped bool
}

// newCrowd starts n clients, which call answered after each answer, and log with the
// first errors.
func newCrowd(n int, network, address string, answered func(), log func(error)) *crowd {
	c := &crowd{waiting: map[*net.UDPConn]bool{}, log: log}
	for range n {
		c.clients.Go(func() {
			for c.dial(network, address, answered) {
			}
		})
	}
	return c
}

// dial asks some questions on a connection of its own, until the crowd is stopped.
func (c *crowd) dial(network, address string, answered func()) (goOn bool) {
	conn, err := net.Dial(network, address)
	if err != nil {
		c.lose(err)
		return false
	}
	defer conn.Close()
	for size := range 8 {
		asked, err := c.ask(conn.(*net.UDPConn), size)
		switch {
		case !asked:
			return false
		case err != nil:
			c.lose(err)
		default:
			c.answered.Add(1)
			answered()
		}
	}
	return true
}

func (c *crowd) lose(err error) {
	if c.lost.Add(1) <= 3 {
		c.log(err)
	}
}

// ask sends size bytes, unless the crowd is stopped, and returns nil when they are
// back.
func (c *crowd) ask(conn *net.UDPConn, size int) (asked bool, err error) {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return false, nil
	}
	c.waiting[conn] = true
	_, err = conn.Write(make([]byte, size))
	c.mu.Unlock()
	if err == nil {
		var n int
		if n, err = conn.Read(make([]byte, 16)); err == nil && n != size {
			err = fmt.Errorf("%d bytes, want %d", n, size)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, conn)
	if errors.Is(err, os.ErrDeadlineExceeded) && readable(conn) {
		err = nil
	}
	return true, err
}

// stop returns when no more is sent and, if the crowd is patient, all is answered: a
// busy kernel delivers a datagram a moment later.
func (c *crowd) stop(patient bool) {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	if !patient {
		return
	}
	done := make(chan struct{})
	go func() {
		c.clients.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(guard):
	}
}

// end comes after stop, when all servers have finished: what is not answered then
// is lost.
func (c *crowd) end() {
	c.mu.Lock()
	for conn := range c.waiting {
		conn.SetReadDeadline(time.Now())
	}
	c.mu.Unlock()
	c.clients.Wait()
}

// loadUDP is a crowd. It obeys "stop" and "stop at once", and ends with its standard
// input.
func loadUDP(args []string) error {
	flags := flag.NewFlagSet("load udp", flag.ContinueOnError)
	clients := flags.Int("n", 32, "")
	addr := flags.String("addr", "127.0.0.1:9999", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var n atomic.Int64
	c := newCrowd(*clients, "udp", *addr, func() {
		if n.Add(1) == 100 {
			fmt.Println("running")
		}
	}, func(err error) { fmt.Fprintln(os.Stderr, "load udp:", err) })
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		c.stop(in.Text() == "stop")
		fmt.Println("stopped")
	}
	c.end()
	fmt.Println(c.answered.Load(), c.lost.Load(), 0)
	return nil
}

// As TestRestart.
func TestRestartUDP(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	for _, test := range []struct{ name, server, load string }{
		{"IPv4", "-addr 127.0.0.1:9999", ""},
		{"dual stack", "-net udp -addr :9999", ""},
		{"IPv6", "-net udp6 -addr [::]:9999", "-addr [::1]:9999"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			restarts := func(drain bool) (lost int) {
				server := start(t, nobody, "serve udp", strings.Fields(test.server)...)
				clients := start(t, nobody, "load udp", strings.Fields(test.load)...)
				var took []string
				for range times(10) {
					next := start(t, nobody, "serve udp", strings.Fields(test.server)...)
					if drain {
						server.tell(t, "drain")
						took = append(took, strings.Fields(server.expect(t, "drained"))[1])
					}
					server.end(t)
					server = next
				}
				ok, lost, _ := clients.finish(t, drain, server)
				t.Logf("drain %v: %d datagrams, %d lost; drain took µs %v", drain, ok, lost, took)
				return lost
			}
			lossless(t, restarts)
		})
	}
}
