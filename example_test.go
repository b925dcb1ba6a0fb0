package reuse_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"syscall"
	"time"

	"example.com/reuse"
	"example.com/reuse/examples/upper/upper"
)

// A server that sends back in capitals what it reads, and that can be restarted
// on its port at once. The one of examples/upper does the same with a command
// line, and ends on a signal.
func ExampleListen() {
	ln, err := reuse.Listen("tcp", "127.0.0.1:0") // a real one: ":9999"
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				upper.Echo(conn, conn)
			}()
		}
	}()

	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "hello, world")
	client.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(client)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
	// Output: HELLO, WORLD
}

func ExampleListenPacket() {
	pc, err := reuse.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer pc.Close()
	go upper.EchoPackets(pc.(*net.UDPConn))

	client, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "hello, world")
	answer := make([]byte, 64)
	n, err := client.Read(answer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer[:n])
	// Output: HELLO, WORLD
}

// Whatever else a net.ListenConfig offers goes together with a Mode.
func ExampleMode_ListenConfig() {
	config := reuse.Addr.ListenConfig()
	config.KeepAlive = time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ln, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	fmt.Println("listening on", ln.Addr().Network())
	// Output: listening on tcp
}

// A hook of one's own runs after that of the Mode.
func ExampleMode_With() {
	config := reuse.Addr.ListenConfig()
	config.Control = reuse.Addr.With(func(network, address string, c syscall.RawConn) error {
		fmt.Println("a", network, "socket is to be bound to", address)
		return nil
	})
	ln, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	// Output: a tcp4 socket is to be bound to 127.0.0.1:0
}

// A client whose connection does not keep a server from its port later.
func ExampleMode_Control() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	dialer := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, // Port: the one to come from
		Control:   reuse.Addr.Control,
	}
	conn, err := dialer.Dial("tcp", server.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println("connected from", conn.LocalAddr().(*net.TCPAddr).IP)
	// Output: connected from 127.0.0.1
}
