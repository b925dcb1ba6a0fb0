package handover_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A trio is three members of a group, of which the first one has a connection in its
// queue, so that a Drain of it waits.
type trio struct {
	address string
	waits   *handover.Listener
	others  [2]*handover.Listener // "b" and "c"
	client  net.Conn              // in the queue
	ended   []<-chan struct{}
}

func newTrio(t testing.TB) *trio {
	t.Helper()
	r := &trio{waits: listenEarly(t, "tcp", "127.0.0.1:0")}
	r.address = r.waits.Addr().String()
	var err error
	if r.client, err = net.Dial("tcp", r.address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.client.Close() })
	for i := range r.others {
		r.others[i] = listenEarly(t, "tcp", r.address)
		r.ended = append(r.ended, serveNamed(t, r.others[i], string(rune('b'+i))))
	}
	return r
}

// steered returns when the first one gets nothing.
func (r *trio) steered(t testing.TB) {
	t.Helper()
	inARow(t, func(patience time.Duration) (steered, answered bool) {
		name, err := nameAt(r.address, patience)
		return name != "", err == nil
	})
}

// end closes what is open.
func (r *trio) end() {
	r.client.Close()
	r.waits.Close()
	for i, ln := range r.others {
		ln.Close()
		<-r.ended[i]
	}
}

// fair fails the test unless the others have equal shares, also with one that joins by
// any means: no program is left.
func (r *trio) fair(t testing.TB) {
	t.Helper()
	if got := named(t, r.address, 400); got["b"] < 130 || got["c"] < 130 || len(got) != 2 {
		t.Errorf("of 400 %v", got)
	}
	plain, err := reuse.Port.Listen("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	ended := serveNamed(t, plain, "d")
	if got := named(t, r.address, 300); got["b"] < 50 || got["c"] < 50 || got["d"] < 50 || len(got) != 3 {
		t.Errorf("of 300, when another has joined, %v", got)
	}
	plain.Close()
	<-ended
}

// go1 calls f on another goroutine.
func go1(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// A listener is closed at any time: Close ends a Drain and waits for it, what the
// Drain changed is undone, and nothing is left.
func TestCloseAnyTime(t *testing.T) {
	needDrain(t)
	drain := func(r *trio) <-chan error { return go1(func() error { return r.waits.Drain(context.Background()) }) }
	for _, test := range []struct {
		name string
		run  func(t *testing.T, r *trio)
	}{
		{"Close during Drain", func(t *testing.T, r *trio) {
			drained := drain(r)
			r.steered(t)
			if err := r.waits.Close(); err != nil {
				t.Error(err)
			}
			if err := <-drained; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Drain: %v", err)
			}
		}},
		{"two Closes during Drain", func(t *testing.T, r *trio) {
			drained := drain(r)
			r.steered(t)
			first, second := go1(r.waits.Close), go1(r.waits.Close)
			if err := errors.Join(<-first, <-second); err != nil {
				t.Error(err)
			}
			if err := <-drained; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Drain: %v", err)
			}
		}},
		{"Close during two Drains", func(t *testing.T, r *trio) {
			first, second := drain(r), drain(r)
			r.steered(t)
			if err := r.waits.Close(); err != nil {
				t.Error(err)
			}
			for _, drained := range []<-chan error{first, second} {
				if err := <-drained; !errors.Is(err, net.ErrClosed) {
					t.Errorf("Drain: %v", err)
				}
			}
		}},
		{"Close at any moment of Drain", func(t *testing.T, r *trio) {
			drained := drain(r)
			time.Sleep(rand.N(30 * time.Millisecond))
			if err := r.waits.Close(); err != nil {
				t.Error(err)
			}
			if err := <-drained; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Drain: %v", err)
			}
		}},
		{"Close, and Drain then", func(t *testing.T, r *trio) {
			for range 2 {
				if err := r.waits.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := r.waits.Drain(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Drain: %v", err)
			}
			if err := handover.DrainAll(t.Context(), r.others[0], r.waits); !errors.Is(err, net.ErrClosed) {
				t.Errorf("DrainAll: %v", err)
			}
		}},
		{"Close of a member during DrainAll", func(t *testing.T, r *trio) {
			member := listenEarly(t, "tcp", r.address)
			ended := serveNamed(t, member, "member")
			drained := go1(func() error { return handover.DrainAll(context.Background(), r.waits, member) })
			inARow(t, func(patience time.Duration) (steered, answered bool) {
				name, err := nameAt(r.address, patience)
				return name == "b" || name == "c", err == nil
			})
			if err := member.Close(); err != nil {
				t.Error(err)
			}
			<-ended
			if err := <-drained; !errors.Is(err, net.ErrClosed) {
				t.Errorf("DrainAll: %v", err)
			}
			// The other one serves on.
			ended = serveNamed(t, r.waits, "a")
			if got := named(t, r.address, 300); got["a"] < 50 || got["b"] < 50 || got["c"] < 50 || len(got) != 3 {
				t.Errorf("of 300 %v", got)
			}
			r.waits.Close()
			<-ended
		}},
		{"Close of one after an end of DrainAll, Drain of the other", func(t *testing.T, r *trio) {
			member := listenEarly(t, "tcp", r.address)
			ctx, cancel := context.WithCancel(t.Context())
			drained := go1(func() error { return handover.DrainAll(ctx, r.waits, member) })
			inARow(t, func(patience time.Duration) (steered, answered bool) {
				name, err := nameAt(r.address, patience)
				return name == "b" || name == "c", err == nil
			})
			cancel()
			if err := <-drained; !errors.Is(err, context.Canceled) {
				t.Errorf("DrainAll: %v", err)
			}
			closed := go1(member.Close)
			alone := drain(r) // together with the other, which is gone or not yet
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if err := r.waits.Close(); err != nil {
				t.Error(err)
			}
			if <-alone == nil {
				t.Error("Drain: nil, with a connection in the queue")
			}
			listenEarly(t, "tcp", r.address).Close() // takes what Close left away
		}},
		{"Closes of all after DrainAll", func(t *testing.T, r *trio) {
			accepted, err := r.waits.Accept()
			if err != nil {
				t.Fatal(err)
			}
			accepted.Close()
			member := listenEarly(t, "tcp", r.address)
			if err := handover.DrainAll(t.Context(), r.waits, member); err != nil {
				t.Fatal(err)
			}
			var closes, drains []<-chan error
			for _, ln := range []*handover.Listener{r.waits, member, r.waits, member} {
				closes = append(closes, go1(ln.Close))
				drains = append(drains, drain(r))
			}
			for _, closed := range closes {
				if err := <-closed; err != nil {
					t.Error(err)
				}
			}
			for _, drained := range drains {
				<-drained // it came before, or failed
			}
			// What is left gives one that joins by other means all or nothing: the
			// control of fair.
			plain, err := reuse.Port.Listen("tcp", r.address)
			if err != nil {
				t.Fatal(err)
			}
			ended := serveNamed(t, plain, "plain")
			if got := named(t, r.address, 100); got["plain"] > 0 && len(got) > 1 {
				t.Errorf("control: of 100 %v", got)
			}
			plain.Close()
			<-ended
			listenEarly(t, "tcp", r.address).Close()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			newTrio(t).end() // so that the runtime has what it keeps
			descriptors, goroutines := testnet.Descriptors(t), runtime.NumGoroutine()
			r := newTrio(t)
			test.run(t, r)
			r.fair(t)
			r.end()
			fewGoroutines(t, goroutines)
			if n := testnet.Descriptors(t); n > descriptors {
				t.Errorf("%d descriptors, before %d", n, descriptors)
			}
		})
	}
}

// fewGoroutines returns when there are n goroutines at most. Nothing tells when one has
// ended.
func fewGoroutines(t testing.TB, n int) {
	t.Helper()
	for deadline := time.Now().Add(testnet.Slow(10 * time.Second)); runtime.NumGoroutine() > n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), n, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// Members of other sets are closed and drained at the same time.
func TestManyAtOnce(t *testing.T) {
	needDrain(t)
	stay := listenEarly(t, "tcp", "127.0.0.1:0")
	address := stay.Addr().String()
	serveNamed(t, stay, "stay")
	for range testnet.Rounds(20, 3) {
		var lns []handover.Drainable
		for range 6 {
			ln := listenEarly(t, "tcp", address)
			serveNamed(t, ln, "leaves")
			lns = append(lns, ln)
		}
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(60*time.Millisecond))
		var running sync.WaitGroup
		for i := range 4 {
			running.Go(func() { handover.DrainAll(ctx, lns[i:i+3]...) })
			running.Go(func() { lns[i].Drain(ctx) })
			running.Go(func() {
				time.Sleep(rand.N(60 * time.Millisecond))
				if err := lns[i].Close(); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		cancel()
		for _, ln := range lns {
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := named(t, address, 50); got["stay"] != 50 {
			t.Errorf("%v answer", got)
		}
	}
	// Nothing is left that keeps others from draining, or from a share.
	next := listenEarly(t, "tcp", address)
	serveNamed(t, next, "next")
	if got := named(t, address, 200); got["next"] < 50 || got["stay"] < 50 {
		t.Errorf("of 200 %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	if err := stay.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// A child process that has a copy of a drained listener's descriptor does not keep the
// port from others. Of one that was only closed it gets connections: the control.
func TestDescriptorElsewhere(t *testing.T) {
	needDrain(t)
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat(1): ", err)
	}
	for _, drain := range []bool{true, false} {
		t.Run(fmt.Sprint("drained ", drain), func(t *testing.T) {
			old := listenEarly(t, "tcp", "127.0.0.1:0")
			address := old.Addr().String()
			f, err := old.File()
			if err != nil {
				t.Fatal(err)
			}
			child := exec.Command(cat)
			child.ExtraFiles = []*os.File{f}
			in, err := child.StdinPipe()
			if err == nil {
				err = child.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			defer child.Wait()
			defer in.Close()
			f.Close()
			raw, err := old.SyscallConn()
			if err == nil { // os.File's Fd makes it block
				err = setsockopt(raw, func(fd int) error { return unix.SetNonblock(fd, true) })
			}
			if err != nil {
				t.Fatal(err)
			}

			serveNamed(t, old, "old")
			next := listenEarly(t, "tcp", address)
			serveNamed(t, next, "next")
			if drain {
				if err := old.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			if !drain {
				for range 100 {
					if _, err := nameAt(address, testnet.Slow(20*time.Millisecond)); err != nil {
						return
					}
				}
				t.Fatal("control: the child gets no connection")
			}
			if got := named(t, address, 200); got["next"] != 200 {
				t.Errorf("%v answer", got)
			}
			third := listenEarly(t, "tcp", address)
			serveNamed(t, third, "third")
			if got := named(t, address, 200); got["next"] < 50 || got["third"] < 50 {
				t.Errorf("of 200 %v", got)
			}
			if err := next.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if err := next.Close(); err != nil {
				t.Error(err)
			}
			if got := named(t, address, 100); got["third"] != 100 {
				t.Errorf("%v answer", got)
			}
		})
	}
}
