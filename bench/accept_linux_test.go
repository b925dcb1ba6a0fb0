package bench_test

import (
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// accepts are the operations of a client that connects, and a listener that
// accepts and closes.
func accepts() []operation {
	var all []operation
	for _, w := range acceptWays() {
		all = append(all, accept(w.name+"-accept", w.open))
	}
	return append(all, accept("accept-one-more", func(network, address string) (net.Listener, error) {
		ln, err := reuse.Port.Listen(network, address)
		return oneMore{ln}, err
	}))
}

// accept returns the operation of a listener that o.hold opens.
func accept(name string, listen func(network, address string) (net.Listener, error)) operation {
	var ln net.Listener
	o := newOperation("tcp4", way[net.Listener]{name, nil})
	o.hold = func() (_ io.Closer, err error) {
		ln, err = listen("tcp4", address)
		return ln, err
	}
	o.run = func() error {
		client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(client)
		server := ln.Addr().(*net.TCPAddr)
		to := &unix.SockaddrInet4{Port: server.Port, Addr: [4]byte(server.IP.To4())}
		// On loopback the connection is in the queue when connect returns. A
		// call that blocks could be interrupted by a signal of package
		// runtime's, and counted again when it is restarted.
		if err := unix.Connect(client, to); err != nil && err != unix.EINPROGRESS {
			return os.NewSyscallError("connect", err)
		}
		// It is for fasthttp's, with TCP_DEFER_ACCEPT.
		if _, err := unix.Write(client, []byte("x")); err != nil {
			return os.NewSyscallError("write", err)
		}
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return o
}

// oneMore is a listener that makes one more system call at each accept.
type oneMore struct{ net.Listener }

func (l oneMore) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetKeepAlive(true)
	}
	return conn, err
}

// A connection costs one setsockopt where net makes five, and the same system
// calls whether package handover opened the listener or Port did.
func TestAcceptCounts(t *testing.T) {
	testnet.Namespace(t)
	counts := map[string]calls{}
	for _, o := range accepts() {
		c, err := countSystemCalls(o)
		if errors.Is(err, errNoStrace) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: %.2f for each connection: %v", o, float64(c.total())/tracedRuns, c)
		counts[o.name] = c
	}
	for name, want := range map[string]int{
		"net-accept": 5, "Control-accept": 5, "libp2p-accept": 5, "Addr-accept": 1, "Port-accept": 1, "handover-accept": 1,
	} {
		if got := counts[name]["setsockopt"]; got != want*tracedRuns {
			t.Errorf("%s: %d connections make %d calls of setsockopt, want %d each", name, tracedRuns, got, want)
		}
	}
	port := counts["Port-accept"]
	if got := counts["handover-accept"]; !maps.Equal(got, port) {
		t.Errorf("with handover %d connections make %v, with Port %v", tracedRuns, got, port)
	}
	if got, want := counts["accept-one-more"].total(), port.total()+tracedRuns; got != want {
		t.Errorf("the control makes %d system calls, want %d: the counter does not count", got, want)
	}
}
