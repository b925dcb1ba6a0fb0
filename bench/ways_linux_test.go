package bench_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"example.com/reuse"
	"example.com/reuse/inuse"
	kavu "github.com/kavu/go_reuseport"
	libp2p "github.com/libp2p/go-reuseport"
	fasthttp "github.com/valyala/fasthttp/reuseport"
	"golang.org/x/sys/unix"
)

// address is free: everything that binds it has a network namespace of its own.
const address = "127.0.0.1:9999"

// A way is one of the ways to open a socket: C is net.Listener or
// net.PacketConn.
type way[C io.Closer] struct {
	name string
	open func(network, address string) (C, error)
}

func (w way[C]) openAndClose(network, address string) error {
	socket, err := w.open(network, address)
	if err != nil {
		return err
	}
	return socket.Close()
}

// listenWays are the ways to open a TCP listener. They are called with "tcp4",
// because with "tcp" fasthttp opens an IPv6 socket for an IPv4 address.
func listenWays() []way[net.Listener] {
	control := net.ListenConfig{Control: bothOptions}
	return []way[net.Listener]{
		{"C", listenC},
		{"net", net.Listen},
		{"Control", func(network, address string) (net.Listener, error) {
			return control.Listen(context.Background(), network, address)
		}},
		{"Addr", reuse.Addr.Listen},
		{"Port", reuse.Port.Listen},
		{"libp2p", libp2p.Listen},
		{"kavu", kavu.Listen},
		{"fasthttp", fasthttp.Listen},
	}
}

// listenPacketWays are the ways to open a UDP socket. fasthttp has none.
func listenPacketWays() []way[net.PacketConn] {
	control := net.ListenConfig{Control: bothOptions}
	return []way[net.PacketConn]{
		{"C", listenPacketC},
		{"net", net.ListenPacket},
		{"Control", func(network, address string) (net.PacketConn, error) {
			return control.ListenPacket(context.Background(), network, address)
		}},
		{"Addr", reuse.Addr.ListenPacket},
		{"Port", reuse.Port.ListenPacket},
		{"libp2p", libp2p.ListenPacket},
		{"kavu", kavu.ListenPacket},
	}
}

// bothOptions is the hook that tutorials on SO_REUSEPORT tell one to write.
func bothOptions(_, _ string, c syscall.RawConn) error {
	return setOptions(c, unix.SO_REUSEADDR, unix.SO_REUSEPORT)
}

func setOptions(c syscall.RawConn, options ...int) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		for _, option := range options {
			if failed == nil {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1)
			}
		}
	})
	return errors.Join(err, failed)
}

// An operation is what is counted and measured: to open a socket and close it, or
// to explain an error.
type operation struct {
	network, name string
	run           func() error
	// hold, if not nil, opens a socket that is there during all runs.
	hold func() (io.Closer, error)
}

func (o operation) String() string { return o.network + "/" + o.name }

func newOperation[C io.Closer](network string, w way[C]) operation {
	return operation{network: network, name: w.name, run: func() error {
		return w.openAndClose(network, address)
	}}
}

// listens are the operations on TCP listeners.
func listens() (all []operation) {
	for _, w := range listenWays() {
		all = append(all, newOperation("tcp4", w))
	}
	return all
}

// listenPackets are the operations on UDP sockets: the ways, and the path that
// Addr takes if another socket with SO_REUSEADDR has the port. There it fails,
// binds with the option too and clears it.
func listenPackets() (all []operation) {
	for _, w := range listenPacketWays() {
		all = append(all, newOperation("udp4", w))
	}
	taken := newOperation("udp4", way[net.PacketConn]{"Addr-taken", reuse.Addr.ListenPacket})
	taken.hold = func() (io.Closer, error) {
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return setOptions(c, unix.SO_REUSEADDR)
		}}
		return config.ListenPacket(context.Background(), "udp4", address)
	}
	return append(all, taken)
}

// explains are operations of Explain: on an error that is not about addresses,
// and on one that is.
func explains() []operation {
	explain := func(name string, errno error, changes bool) operation {
		err := error(&net.OpError{Op: "listen", Net: "tcp4", Err: os.NewSyscallError("bind", errno),
			Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9999}})
		return operation{network: "explain", name: name, run: func() error {
			if (inuse.Explain(err) != err) != changes {
				return fmt.Errorf("%v is explained, or is not", err)
			}
			return nil
		}}
	}
	return []operation{explain("unrelated", syscall.EMFILE, false), explain("free", syscall.EADDRINUSE, true)}
}

// start opens the socket to hold and runs o once, so that the runs to come find
// in place what a process does only once.
func (o operation) start() (stop func(), err error) {
	stop = func() {}
	if o.hold != nil {
		held, err := o.hold()
		if err != nil {
			return nil, err
		}
		stop = func() { held.Close() }
	}
	if err := o.run(); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
