package handover_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

const highest = 256 // descriptors that are looked at, and the limit otherwise

// descriptors returns which numbers up to highest are in use, and which are free.
func descriptors() (used, free []int) {
	for fd := range highest {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			used = append(used, fd)
		} else {
			free = append(free, fd)
		}
	}
	return used, free
}

func limit(n int) error {
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: highest})
}

// scarce is closed when there are descriptors again.
var scarce struct {
	sync.Mutex
	ends chan struct{}
}

// scarcely calls f where this process can have k more descriptors.
func scarcely(k int, f func() error) error {
	ends := make(chan struct{})
	defer close(ends)
	scarce.Lock()
	scarce.ends = ends
	scarce.Unlock()
	_, free := descriptors()
	if err := limit(free[k]); err != nil {
		return err
	}
	failed := f()
	if err := limit(highest); err != nil {
		return err
	}
	return failed
}

// plenty returns when there are descriptors again, or done is closed.
func plenty(done chan struct{}) {
	scarce.Lock()
	ends := scarce.ends
	scarce.Unlock()
	select {
	case <-ends:
	case <-done:
	}
}

// A scarceServer is a server of this process, of one of the kinds that there are.
type scarceServer struct {
	drain func(context.Context) error // Drain, DrainAll or Shutdown
	close func() error
	idle  func() // waits for its answers; nil where nothing calls it
}

// scarceKinds open servers at addr. What they have opened when they fail, they
// close.
var scarceKinds = map[string]func(address string) (*scarceServer, error){
	"Listen": func(address string) (*scarceServer, error) {
		return serveScarce(handover.Listen("tcp4", address))
	},
	"New": func(address string) (*scarceServer, error) {
		ln, err := reuse.Port.Listen("tcp4", address)
		if err != nil {
			return nil, err
		}
		own, err := handover.New(ln)
		if err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		return serveScarce(own, nil)
	},
	"DrainAll": func(address string) (*scarceServer, error) {
		var all [2]*handover.Listener
		var servers [2]*scarceServer
		for i := range all {
			ln, err := handover.Listen("tcp4", address)
			if err != nil {
				if i == 1 {
					servers[0].close()
				}
				return nil, err
			}
			all[i] = ln
			if servers[i], err = serveScarce(ln, nil); err != nil {
				if i == 1 {
					servers[0].close()
				}
				return nil, err
			}
		}
		return &scarceServer{
			drain: func(ctx context.Context) error { return handover.DrainAll(ctx, all[0], all[1]) },
			close: func() error { return errors.Join(servers[0].close(), servers[1].close()) },
		}, nil
	},
	"ListenPacket": func(address string) (*scarceServer, error) {
		pc, err := handover.ListenPacket("udp6", "[::1]:9999")
		if err != nil {
			return nil, err
		}
		var answering sync.WaitGroup
		answering.Go(func() {
			for buf := make([]byte, 1); ; {
				_, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				pc.WriteTo(fmt.Appendln(nil, os.Getpid()), from)
			}
		})
		return &scarceServer{pc.Drain, func() error {
			pc.SetReadDeadline(time.Now()) // what it has read is answered
			answering.Wait()
			return pc.Close()
		}, func() {}}, nil
	},
	"HTTP": func(address string) (*scarceServer, error) {
		ln, err := handover.Listen("tcp4", address)
		if err != nil {
			return nil, err
		}
		if err := listenNow(ln); err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		begun := make(chan struct{})
		srv := &handover.HTTPServer{Server: &http.Server{
			Handler:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Getpid()) }),
			BaseContext: func(net.Listener) context.Context { close(begun); return context.Background() },
		}, NeedSuccessor: true}
		done := make(chan error, 1)
		go func() { done <- srv.Serve(ln) }()
		<-begun
		return &scarceServer{
			drain: srv.Shutdown,
			close: func() error {
				err := srv.Close()
				if served := <-done; !errors.Is(served, http.ErrServerClosed) {
					return served
				}
				return err
			},
		}, nil
	},
}

func serveScarce(ln *handover.Listener, err error) (*scarceServer, error) {
	if err != nil {
		return nil, err
	}
	if err := listenNow(ln); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	var accepting, answering sync.WaitGroup
	closed := make(chan struct{})
	accepting.Go(func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, unix.EMFILE) {
				plenty(closed)
				continue
			}
			if err != nil {
				return
			}
			answering.Go(func() { answer(conn) })
		}
	})
	return &scarceServer{ln.Drain, func() error {
		err := ln.Close()
		close(closed)
		accepting.Wait()
		answering.Wait()
		return err
	}, answering.Wait}, nil
}

// others opens two more members of the group.
func others(kind string) (pair [2]*scarceServer, err error) {
	if kind != "ListenPacket" {
		kind = "Listen"
	}
	for i := range pair {
		if pair[i], err = scarceKinds[kind](addr); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// exhaust does what its argument says again and again, with one descriptor more
// each time, until it has had enough of them. It prints how often each step failed.
func exhaust(args []string) error {
	if err := limit(highest); err != nil {
		return err
	}
	open, what := scarceKinds[args[0]], []string{"open", "drain", "close"}
	failed := map[string]int{}
	others, err := others(args[0])
	if err != nil {
		return err
	}
	// net opens what it keeps.
	first, err := open(addr)
	if err != nil {
		return err
	}
	if err := first.close(); err != nil {
		return err
	}
	most := testnet.Rounds(48, 4) // more than Drain has at the same time
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	before, _ := descriptors()
	for _, step := range what {
		for k := range most {
			at := func(at string, f func() error) error {
				if at != step {
					return f()
				}
				err := scarcely(k, f)
				if err != nil {
					failed[step]++
				}
				return err
			}
			var s *scarceServer
			err := at("open", func() (err error) { s, err = open(addr); return err })
			if err != nil && (step != "open" || !errors.Is(err, unix.EMFILE)) {
				return fmt.Errorf("%s, %d descriptors: open: %w", step, k, err)
			}
			if err == nil {
				err := at("drain", func() error { return s.drain(ctx) })
				if err != nil && (step != "drain" || !errors.Is(err, unix.EMFILE)) {
					return fmt.Errorf("%s, %d descriptors: drain: %w", step, k, err)
				}
				if err != nil { // it serves on, and with enough descriptors it can be drained
					if err := answered(args[0]); err != nil {
						return fmt.Errorf("%s, %d descriptors: after %w", step, k, err)
					}
					if err := s.drain(ctx); err != nil {
						return fmt.Errorf("%s, %d descriptors: drain again: %w", step, k, err)
					}
				}
				if err := at("close", s.close); err != nil {
					return fmt.Errorf("%s, %d descriptors: close: %w", step, k, err)
				}
			}
			for _, other := range others {
				other.idle() // the server closes after the client
			}
			if after, _ := descriptors(); len(after) != len(before) {
				return fmt.Errorf("%s, %d descriptors: %v in use, before %v", step, k, after, before)
			}
			if k > 2 && step != "drain" {
				break // these have one at a time
			}
		}
	}
	if err := answered(args[0]); err != nil {
		return err
	}
	fmt.Println("failed", failed["open"], failed["drain"], failed["close"])
	return errors.Join(others[0].close(), others[1].close())
}

// answered asks the TCP servers.
func answered(kind string) error {
	for range 10 {
		switch kind {
		case "ListenPacket":
		case "HTTP": // the others are no HTTP servers
		default:
			if err := request(net.Dialer{}, "tcp4", addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// Descriptors are used up at any moment of an operation: it says EMFILE or
// succeeds, leaves none behind, and what it left works when there are some again.
func TestScarceDescriptors(t *testing.T) {
	testnet.Parallel(t)
	for kind := range scarceKinds {
		t.Run(kind, func(t *testing.T) {
			testnet.Namespace(t)
			needDrain(t)
			p := testnet.Start(t, os.Getuid(), "scarce", kind)
			var open, drain, closing int
			line := p.Line(t)
			if _, err := fmt.Sscanf(line, "failed %d %d %d", &open, &drain, &closing); err != nil {
				t.Fatalf("%q", line)
			}
			t.Logf("failed: open %d, drain %d, close %d", open, drain, closing)
			if open == 0 || drain == 0 || closing != 0 {
				t.Errorf("control: open fails %d times, drain %d, close %d", open, drain, closing)
			}
		})
	}
}
