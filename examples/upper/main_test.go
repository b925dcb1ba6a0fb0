package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// ownLog makes what the server logs output of the test.
func ownLog(t testing.TB) {
	old := log.Writer()
	log.SetOutput(t.Output())
	t.Cleanup(func() { log.SetOutput(old) })
}

// start runs the server until the end of the test, and returns its address.
func start(t testing.TB, network string) string {
	t.Helper()
	ownLog(t)
	ctx, cancel := context.WithCancel(context.Background())
	out, stdout := io.Pipe()
	done := make(chan error, 1)
	go func() {
		run := runTCP
		if strings.HasPrefix(network, "udp") {
			run = runUDP
		}
		done <- run(ctx, stdout, network, "127.0.0.1:0")
		stdout.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, network, strings.TrimSuffix(line, "\n"))
}

// parse returns the address that the server says it listens on.
func parse(t testing.TB, network, line string) string {
	t.Helper()
	addr, ok := strings.CutPrefix(line, "listening on "+network+" ")
	if _, port, err := net.SplitHostPort(addr); !ok || err != nil || port == "0" {
		t.Fatalf("server says %q", line)
	}
	return addr
}

// guard is how long a test waits for what has to happen, before it fails.
const guard = time.Minute

func dial(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(guard))
	return conn
}

func dialTCP(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	return dial(t, "tcp", addr).(*net.TCPConn)
}

// message returns n bytes of all values, the same for the same seed.
func message(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func oracle(p []byte) []byte {
	q := bytes.Clone(p)
	for i, c := range q {
		if c >= 'a' && c <= 'z' {
			q[i] = c - 32
		}
	}
	return q
}

// ask sends message while it reads the answer, which has to end with it.
func ask(conn *net.TCPConn, message []byte) error {
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(message)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := io.ReadAll(conn)
	if !bytes.Equal(got, oracle(message)) {
		err = errors.Join(err, errors.New("wrong answer"))
	}
	return errors.Join(err, <-sent)
}

func TestManyClients(t *testing.T) {
	addr := start(t, "tcp")
	var clients sync.WaitGroup
	for i := range 200 {
		conn := dialTCP(t, addr)
		clients.Go(func() {
			size := 1 << (i % 21)
			if err := ask(conn, message(byte(i), size+i%3-1)); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	clients.Wait()
}

func TestHalfClose(t *testing.T) {
	conn := dialTCP(t, start(t, "tcp"))
	sent := message(1, 64<<10)
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, oracle(sent)) {
		t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
	}
}

// A client that is silent, and one that reads nothing until the others are
// done, hold nobody up and get their answers too.
func TestSlowAndSilent(t *testing.T) {
	addr := start(t, "tcp")
	silent, slow := dialTCP(t, addr), dialTCP(t, addr)
	sent := message(2, 16<<20) // more than the buffers of both sides hold
	wrote := make(chan error)
	go func() {
		_, err := slow.Write(sent)
		wrote <- errors.Join(err, slow.CloseWrite())
	}()
	for i := range 10 {
		if err := ask(dialTCP(t, addr), message(byte(i), 100<<10)); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	if got, err := io.ReadAll(slow); err != nil || !bytes.Equal(got, oracle(sent)) {
		t.Errorf("slow: %d bytes of %d, %v", len(got), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("slow: %v", err)
	}
	if err := ask(silent, []byte("at last")); err != nil {
		t.Errorf("silent: %v", err)
	}
}

// A client that resets its connection ends that, and nothing else.
func TestReset(t *testing.T) {
	addr := start(t, "tcp")
	for range 10 {
		conn := dialTCP(t, addr)
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		conn.SetLinger(0)
		conn.Close()
	}
	if err := ask(dialTCP(t, addr), []byte("after all")); err != nil {
		t.Error(err)
	}
}

func TestUDP(t *testing.T) {
	conn := dial(t, "udp", start(t, "udp"))
	buf := make([]byte, 2000)
	for _, size := range []int{0, 1, 1024} {
		sent := message(3, size)
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(buf); err != nil || !bytes.Equal(buf[:n], oracle(sent)) {
			t.Errorf("%d bytes: got %d, %v", size, n, err)
		}
	}
}

// Connections keep coming while the server stops: each is served or refused,
// and none outlives it.
func TestStopWhileAccepting(t *testing.T) {
	ownLog(t)
	for range 20 {
		stopWhileAccepting(t)
	}
	if left := running(); left != "" {
		t.Errorf("serve has returned, but not:\n%s", left)
	}
}

func stopWhileAccepting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The first answer ends ctx.
	stop := sync.OnceFunc(func() {
		if running() == "" {
			t.Error("a server that answers is not found among the goroutines")
		}
		cancel()
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					return
				}
				conn.Write([]byte("x"))
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					stop()
				}
				io.Copy(io.Discard, conn) // until the server closes it
				conn.Close()
			}
		})
	}
	if err := serve(ctx, ln); err != nil {
		t.Error(err)
	}
	clients.Wait()
}

// running returns the stacks of the goroutines that serve somebody.
func running() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, f := range []string{"upper.serve(", "upper.handle(", "upper.cut(", "upper.Echo("} {
			if strings.Contains(stack, f) {
				found = append(found, stack)
				break
			}
		}
	}
	return strings.Join(found, "\n\n")
}
