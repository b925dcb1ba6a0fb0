package handover_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// listening reports whether a socket listens, and is not bound only.
func listening(t testing.TB, ln any) bool {
	t.Helper()
	return testnet.Sockopt(t, ln, unix.SO_ACCEPTCONN) != 0
}

// A successor that does not accept yet gets no connection, and none is lost when it
// gives up. One that listens at once does: the control.
func TestSuccessorNotReady(t *testing.T) {
	needDrain(t)
	old := listenEarly(t, "tcp", "127.0.0.1:0")
	address := old.Addr().String()
	serveNamed(t, old, "old")
	for _, test := range []struct {
		name   string
		listen func() (net.Listener, error)
		lazy   bool
	}{
		{"handover.Listen", func() (net.Listener, error) { return handover.Listen("tcp", address) }, true},
		{"reuse.Port.Listen", func() (net.Listener, error) { return reuse.Port.Listen("tcp", address) }, false},
	} {
		next, err := test.listen()
		if err != nil {
			t.Fatal(err)
		}
		var clients []net.Conn
		for range 60 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			clients = append(clients, conn)
		}
		if err := next.Close(); err != nil { // it gives up
			t.Error(err)
		}
		lost := 0
		for _, conn := range clients {
			conn.SetReadDeadline(time.Now().Add(guard))
			if n, _ := conn.Read(make([]byte, 8)); n == 0 {
				lost++
			}
		}
		if test.lazy != (lost == 0) {
			t.Errorf("%s: %d of %d lost", test.name, lost, len(clients))
		}
	}
	// When it is ready it has its share, and the old one can go.
	next, err := handover.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	drained := go1(func() error { return old.Drain(t.Context()) }) // waits, or finds it
	if got := named(t, address, 50); got["old"] != 50 {
		t.Errorf("a successor that only binds: %v answer", got)
	}
	serveNamed(t, next, "next")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if got := named(t, address, 50); got["next"] != 50 {
		t.Errorf("drained, %v answer", got)
	}
}

// Beside another listener one is bound only until the first Accept, at each form of an
// address, and is in the same group then. Alone it listens at once.
func TestListenForms(t *testing.T) {
	testnet.Namespace(t)
	needDrain(t)
	if ip, err := exec.LookPath("ip"); err != nil {
		t.Log("without link-local addresses: ", err)
	} else if out, err := exec.Command(ip, strings.Fields("addr add fe80::1/64 dev lo nodad")...).CombinedOutput(); err != nil {
		t.Fatalf("ip: %v, %s", err, out)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ network, address string }{
		{"tcp", ":9999"},
		{"tcp4", ":9999"},
		{"tcp6", ":9999"},
		{"tcp", "0.0.0.0:9999"},
		{"tcp4", "0.0.0.0:9999"},
		{"tcp", "[::]:9999"},
		{"tcp6", "[::]:9999"},
		{"tcp", "127.0.0.1:9999"},
		{"tcp", "localhost:9999"},
		{"tcp4", "localhost:9999"},
		{"tcp", "[::1]:9999"},
		{"tcp6", "[::1]:9999"},
		{"tcp", "127.0.0.1:http"},
		{"tcp", "[fe80::1%lo]:9999"},
		{"tcp6", fmt.Sprintf("[fe80::1%%%d]:9999", lo.Index)},
	} {
		t.Log(test.network, test.address)
		first, err := handover.Listen(test.network, test.address)
		if err != nil && strings.Contains(test.address, "fe80") {
			if _, plain := net.Listen(test.network, test.address); plain != nil {
				t.Log("package net neither: ", plain)
				continue
			}
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if !listening(t, first) {
			t.Error("the first one does not listen")
		}
		second, err := handover.Listen(test.network, test.address)
		if err != nil {
			t.Error(err)
			first.Close()
			continue
		}
		if listening(t, second) {
			t.Error("the second one listens before it accepts")
		}
		if got, want := second.Addr().String(), first.Addr().String(); got != want {
			t.Errorf("the second one is at %s, the first at %s", got, want)
		}
		if err := listenNow(second); err != nil {
			t.Error(err)
		}
		if err := first.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		first.Close()
		second.Close()
	}
}

// Errors of bind(2) come at once, as package net's do, and those of listen(2) with the
// first Accept.
func TestListenErrors(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	testnet.NeedArguments(t)
	testnet.Namespace(t)
	needDrain(t)
	inUse := func(holder string) {
		t.Helper()
		ln, err := handover.Listen("tcp4", addr)
		var op *net.OpError
		if !errors.As(err, &op) || !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("beside %s: %v", holder, err)
			if err == nil {
				ln.Close()
			}
			return
		}
		if op.Op != "listen" || op.Net != "tcp4" || op.Addr.String() != addr {
			t.Errorf("beside %s: %s %s %v", holder, op.Op, op.Net, op.Addr)
		}
	}
	plain, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	inUse("a listener without SO_REUSEPORT")
	plain.Close()
	var other net.Listener
	// A process that another test is just starting may have the one before for a moment.
	for deadline := time.Now().Add(guard); ; {
		testnet.As(t, nobody, func() { other, err = reuse.Port.Listen("tcp4", addr) })
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	inUse("another user's listener")
	other.Close()

	first := listenEarly(t, "tcp4", addr)
	p := testnet.Start(t, os.Getuid(), "refused listen")
	if line := p.Line(t); line != "accept tcp "+addr+": listen: operation not permitted" {
		t.Errorf("%q", line)
	}
	first.Close() // nobody listens
	p = testnet.Start(t, os.Getuid(), "refused listen")
	if line := p.Line(t); !strings.HasPrefix(line, "listen tcp4 "+addr+": ") {
		t.Errorf("control: %q", line)
	}
}

// refusedListen prints an error of listen(2).
func refusedListen([]string) error {
	if err := refuse("listen", unix.EPERM); err != nil {
		return err
	}
	ln, err := handover.Listen("tcp4", addr)
	if err == nil {
		for range 2 { // the same again
			_, err = ln.Accept()
		}
		var op *net.OpError
		if !errors.As(err, &op) || !errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("not an OpError of EPERM: %w", err)
		}
	}
	fmt.Println(err)
	return nil
}

// Two listeners are drained together, and one is closed. The other one does not listen
// any more, but its Accept waits: until a deadline, or Close.
func TestAcceptHasLeft(t *testing.T) {
	needDrain(t)
	a := listenEarly(t, "tcp", "127.0.0.1:0")
	address := a.Addr().String()
	b, stay := listenEarly(t, "tcp", address), listenEarly(t, "tcp", address)
	serveNamed(t, stay, "stay")
	if err := handover.DrainAll(t.Context(), a, b); err != nil {
		t.Fatal(err)
	}
	waiting := accepting(b) // from before
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if listening(t, b) {
		t.Error("control: it listens")
	}
	timeout := func(accepted <-chan error) {
		t.Helper()
		var op *net.OpError
		if err := <-accepted; !errors.As(err, &op) || !op.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || op.Op != "accept" {
			t.Errorf("Accept: %v", err)
		}
	}
	select {
	case err := <-waiting:
		t.Errorf("Accept: %v", err)
	default:
	}
	b.SetDeadline(time.Now().Add(-time.Second))
	timeout(waiting)
	timeout(accepting(b))
	b.SetDeadline(time.Now().Add(10 * time.Millisecond))
	timeout(accepting(b))
	b.SetDeadline(time.Time{})
	waiting = accepting(b)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
}

func accepting(ln net.Listener) <-chan error {
	return go1(func() error {
		conn, err := ln.Accept()
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// File is a copy of the socket, and SyscallConn the socket itself.
func TestListenerDescriptors(t *testing.T) {
	needDrain(t) // and so SO_COOKIE
	ln, err := handover.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	copied, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if got := copied.Addr().String(); got != ln.Addr().String() {
		t.Errorf("the copy is at %s, want %v", got, ln.Addr())
	}
	if a, b := cookie(t, ln), cookie(t, copied); a != b {
		t.Errorf("the copy is socket %x, want %x", b, a)
	}
	other := listenEarly(t, "tcp", ln.Addr().String())
	if a, b := cookie(t, ln), cookie(t, other); a == b {
		t.Error("control: two sockets have one cookie")
	}
}

func cookie(t testing.TB, sock any) (cookie uint64) {
	t.Helper()
	c, err := sock.(syscall.Conn).SyscallConn()
	if err == nil {
		err = setsockopt(c, func(fd int) (err error) {
			cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}
