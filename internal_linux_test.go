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
	c, err := pc.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = setOption(c, 9999, "SO_NONE", 1)
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, unix.ENOPROTOOPT) {
		t.Errorf("%v, want ENOPROTOOPT and errors.ErrUnsupported", err)
	}
	if err := setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	pc.Close()
	if err := setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 1); !errors.Is(err, net.ErrClosed) {
		t.Errorf("on a closed socket: %v, want net.ErrClosed", err)
	}
}

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
