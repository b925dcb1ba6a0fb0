package reuse

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An option that the kernel lacks is unsupported, with its errno.
func TestUnknownOption(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	c := rawConn(t, pc)
	err = setOption(c, 9999, "SO_NONE", 1)
	if err == nil {
		t.Skip("needs a kernel that refuses options which it does not know")
	}
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("%v, want ENOPROTOOPT and errors.ErrUnsupported", err)
	}
	if err := setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	setOption(c, 9999, "SO_NONE", 1)
	if err := setOption(noSocket{}, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); err != nil {
		t.Errorf("the error of another call: %v", err)
	}
	pc.Close()
	if err := setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed socket: %v, want net.ErrClosed", err)
	}
}

func rawConn(t testing.TB, pc net.PacketConn) syscall.RawConn {
	t.Helper()
	c, err := pc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type noSocket struct{ syscall.RawConn }

func (noSocket) Control(func(uintptr)) error { return nil }

// A bound socket that cannot be adjusted is closed.
func TestAdjustFails(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = adjust(pc, "udp", func(syscall.RawConn) error { return unix.EPERM })
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, unix.EPERM) {
		t.Errorf("%v, want EPERM in a *net.OpError", err)
	}
	if err := pc.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the socket is still open: %v", err)
	}
}

// A socket for a multicast address keeps SO_REUSEADDR also on the second try,
// which it gets only if the first was refused by somebody who has gone since.
func TestSealedMulticast(t *testing.T) {
	for address, want := range map[string]bool{"224.0.0.1:0": true, "127.0.0.1:0": false} {
		pc, err := Addr.listenSealed("udp", address)
		if !want && errors.Is(err, errors.ErrUnsupported) {
			continue // TestSealed tells where
		}
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		c := rawConn(t, pc)
		if got, err := hasAddr(c); got != want || err != nil {
			t.Errorf("%s: SO_REUSEADDR %v, %v, want %v", address, got, err, want)
		}
	}
}
