// Upper is a server that answers what it is sent, ASCII letters in upper case
// and every other byte as it came.
//
//	go run ./examples/upper [-addr :9999] [-net tcp|udp]
//
// It serves any number of clients at once, until SIGINT or SIGTERM. Then it
// answers what it has read, and can be started again at once on the same port.
//
// Over UDP an answer goes to whatever address the datagram names as its sender,
// which can be forged: that is for trusted networks only. And it comes from the
// address that the system prefers; on a host with several, -addr has to name
// the one that clients use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"example.com/reuse"
	"example.com/reuse/examples/upper/upper"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("upper: ")
	addr := flag.String("addr", ":9999", "`address` to listen on")
	network := flag.String("net", "tcp", "`network`: tcp, tcp4, tcp6, udp, udp4 or udp6")
	flag.Parse()
	var run func(ctx context.Context, stdout io.Writer, network, addr string) error
	switch *network {
	case "tcp", "tcp4", "tcp6":
		run = runTCP
	case "udp", "udp4", "udp6":
		run = runUDP
	}
	if run == nil || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *network, *addr)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// runTCP listens on addr and serves its clients until ctx ends.
func runTCP(ctx context.Context, stdout io.Writer, network, addr string) error {
	ln, err := reuse.Listen(network, addr)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "listening on", network, ln.Addr())
	return serve(ctx, ln)
}

// runUDP listens on addr and answers datagrams until ctx ends.
func runUDP(ctx context.Context, stdout io.Writer, network, addr string) error {
	pc, err := reuse.ListenPacket(network, addr)
	if err != nil {
		return err
	}
	defer pc.Close()
	fmt.Fprintln(stdout, "listening on", network, pc.LocalAddr())
	conn := pc.(*net.UDPConn)
	defer onDone(ctx, func() { cut(conn) })()
	if err := upper.EchoPackets(conn); ctx.Err() == nil {
		return err
	}
	return nil
}

// serve accepts and handles connections until ctx ends. It closes ln, and
// returns when all handlers have.
func serve(ctx context.Context, ln net.Listener) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer ln.Close()
	defer onDone(ctx, func() { ln.Close() })()
	var delay time.Duration
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			delay = 0
			handlers.Go(func() { handle(ctx, conn) })
		case errors.Is(err, net.ErrClosed):
			return nil
		default:
			// Out of descriptors, or of memory: the connections wait in the
			// kernel until others end.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			log.Printf("%v; next try in %v", err, delay)
			select {
			case <-time.After(delay):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// handle serves one client until it has sent its last byte, or ctx ends.
func handle(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	// A ctx that has ended already cuts a connection that was just accepted.
	defer onDone(ctx, func() { cut(conn) })()
	if err := upper.Echo(conn, conn); err != nil && ctx.Err() == nil {
		log.Print(err)
	}
}

// grace is how long a client can take for its last answer.
const grace = 500 * time.Millisecond

// cut makes conn read nothing more. What was read can still be answered, but a
// client that does not take its answer does not hold the server up.
func cut(conn net.Conn) {
	now := time.Now()
	conn.SetReadDeadline(now)
	conn.SetWriteDeadline(now.Add(grace))
}

// onDone calls f when ctx ends. The function it returns calls that off or, if
// it is too late, returns after f: the caller leaves no goroutine behind.
func onDone(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	callOff := context.AfterFunc(ctx, func() {
		defer close(done)
		f()
	})
	return func() {
		if !callOff() {
			<-done
		}
	}
}
