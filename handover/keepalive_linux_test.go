package handover

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/keepalive"
	"golang.org/x/sys/unix"
)

// The listener holds package net's keep-alive, and what it accepts has it, and
// TCP_NODELAY. Port's ListenConfig is the control: there net sets it on each
// connection.
func TestKeepAlive(t *testing.T) {
	inherited := 0
	if keepalive.Inherited() {
		inherited = 1
	}
	for _, test := range []struct {
		listen func() (net.Listener, error)
		holds  int
	}{
		{func() (net.Listener, error) { return Listen("tcp", "127.0.0.1:0") }, inherited},
		{func() (net.Listener, error) { // bound beside another one first
			other, err := Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			ln, err := Listen("tcp", other.Addr().String())
			if err == nil {
				ln.SetDeadline(time.Unix(1, 0))
				ln.Accept()
				ln.SetDeadline(time.Time{})
			}
			return ln, errors.Join(err, other.Close())
		}, inherited},
		{func() (net.Listener, error) {
			return reuse.Port.ListenConfig().Listen(t.Context(), "tcp", "127.0.0.1:0")
		}, 0},
	} {
		ln, err := test.listen()
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := keepAlive(t, ln)[0]; got != test.holds {
			t.Errorf("the listener's keep-alive is %d, want %d", got, test.holds)
		}
		if got := keepAlive(t, conn); got != [...]int{1, 15, 15, 9, 1} {
			t.Errorf("a connection has %v", got)
		}
	}
}

func keepAlive(t *testing.T, sock any) (values [5]int) {
	t.Helper()
	c, err := sock.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		for i, option := range [...][2]int{
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
			{unix.IPPROTO_TCP, unix.TCP_NODELAY},
		} {
			if values[i], failed = unix.GetsockoptInt(int(fd), option[0], option[1]); failed != nil {
				return
			}
		}
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return values
}
