package inuse

import (
	"errors"
	"net"
	"sync"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
)

// A look that sockets come or go during is noticed.
func TestExplainChanged(t *testing.T) {
	testnet.NeedTables(t)
	for _, network := range []string{"tcp4", "udp4"} {
		for _, netlink := range []bool{true, false} {
			var first interface{ Close() error }
			var addr net.Addr
			if network == "tcp4" {
				ln, err := reuse.Port.Listen(network, "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				first, addr = ln, ln.Addr()
			} else {
				pc, err := reuse.Port.ListenPacket(network, "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				first, addr = pc, pc.LocalAddr()
			}
			local, _ := addrPortOf(addr)
			a := attempt{network: network, refusal: refusedInUse, local: local}
			kernel := openKernel()
			defer kernel.close()
			if !netlink {
				kernel.close()
			}
			l := &look{attempt: a, asker: newAsker(), target: targetOf(a), kernel: kernel}
			if f := l.find(t.Context()); f == nil || f.cause != CauseSelf {
				t.Errorf("%s: %+v", network, f)
			}
			if l.changed(t.Context()) {
				t.Errorf("%s, netlink %v: changed, though nothing has", network, netlink)
			}
			var err error
			var second interface{ Close() error }
			if network == "tcp4" {
				second, err = reuse.Port.Listen(network, addr.String())
			} else {
				second, err = reuse.Port.ListenPacket(network, addr.String())
			}
			if err != nil {
				t.Fatal(err)
			}
			if !l.changed(t.Context()) {
				t.Errorf("%s, netlink %v: a second socket is not noticed", network, netlink)
			}
			second.Close()
			first.Close()
			if !l.changed(t.Context()) {
				t.Errorf("%s, netlink %v: it is not noticed that the socket is closed", network, netlink)
			}
		}
	}
}

// That a server is busy changes nothing of who has its port.
func TestExplainBusy(t *testing.T) {
	testnet.NeedTables(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
					conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				}
			}
		})
	}
	_, err = net.Listen("tcp", ln.Addr().String())
	for range 20 {
		e, ok := errors.AsType[*Error](ExplainContext(t.Context(), err))
		if !ok || e.Cause != CauseSelf || len(e.Holders) != 1 || len(e.Hints) > 0 {
			t.Errorf("%v, hints %q", e, e.Hints)
		}
	}
	close(stop)
	clients.Wait()
}
