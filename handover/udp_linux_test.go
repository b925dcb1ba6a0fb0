package handover_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
)

// serveUDP sends datagrams back. It obeys "drain" and "close".
func serveUDP(args []string) error {
	flags := flag.NewFlagSet("serve udp", flag.ContinueOnError)
	network := flags.String("net", "udp4", "")
	addr := flags.String("addr", "127.0.0.1:9999", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pc, err := handover.ListenPacket(*network, *addr)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			pc.WriteTo(buf[:n], from)
		}
	}()
	fmt.Println("listening", os.Getpid())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "drain":
			ctx, cancel := context.WithTimeout(context.Background(), guard)
			start := time.Now()
			err := pc.Drain(ctx)
			cancel()
			fmt.Println(outcome(err), time.Since(start).Microseconds(), err)
		case "close":
			// What was read is still to be answered.
			pc.SetReadDeadline(time.Now())
			<-done
			return pc.Close()
		}
	}
	return in.Err()
}

// loadUDP sends datagrams, also empty ones, and counts those that do not come
// back.
func loadUDP(args []string) error {
	flags := flag.NewFlagSet("load udp", flag.ContinueOnError)
	clients := flags.Int("n", 32, "")
	addr := flags.String("addr", "127.0.0.1:9999", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var ok, lost atomic.Int64
	var stop atomic.Bool
	var first sync.Once
	var running sync.WaitGroup
	for range *clients {
		running.Go(func() {
			for i := 0; !stop.Load(); i++ {
				conn, err := net.Dial("udp", *addr)
				if err != nil {
					lost.Add(1)
					continue
				}
				for size := range 8 {
					conn.SetDeadline(time.Now().Add(testnet.Slow(2 * time.Second)))
					_, err = conn.Write(make([]byte, size))
					if err == nil {
						_, err = conn.Read(make([]byte, 2048))
					}
					if err != nil {
						if lost.Add(1) <= 3 {
							fmt.Fprintln(os.Stderr, "load udp:", err)
						}
					} else if ok.Add(1) > 100 {
						first.Do(func() { fmt.Println("running") })
					}
				}
				conn.Close()
			}
		})
	}
	io.Copy(io.Discard, os.Stdin)
	stop.Store(true)
	running.Wait()
	fmt.Println(ok.Load(), lost.Load(), 0)
	return nil
}

// As TestRestart.
func TestRestartUDP(t *testing.T) {
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
				refused := 0
				for range times(10) {
					next := start(t, nobody, "serve udp", strings.Fields(test.server)...)
					for drain {
						server.tell(t, "drain")
						line := strings.Fields(server.expect(t, "drained", "unknown"))
						if line[0] == "drained" {
							took = append(took, line[1])
							break
						}
						// The one before left, and the next came, before the
						// watch saw either. When alone it knows its slot again.
						refused++
						next.tell(t, "drain")
						next.expect(t, "drained")
						next.end(t)
						server.tell(t, "drain")
						server.expect(t, "alone")
						next = start(t, nobody, "serve udp", strings.Fields(test.server)...)
					}
					server.end(t)
					server = next
				}
				ok, lost, _ := clients.counts(t)
				server.end(t)
				t.Logf("drain %v: %d datagrams, %d lost; %d refused, drain took µs %v", drain, ok, lost, refused, took)
				return lost
			}
			lossless(t, restarts)
		})
	}
}
