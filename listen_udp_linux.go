package reuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"example.com/reuse/internal/keepalive"
	"golang.org/x/sys/unix"
)

// lateOptions reports whether the kernel goes by the options that a UDP socket has
// now (udp_lib_lport_inuse). gVisor goes by those it had at its bind.
func lateOptions() bool { return !keepalive.GVisor() }

// listenSealed binds over sockets that have SO_REUSEADDR. Cause is package net's
// error of a bind without the option.
//
// Of two starters that do so at the same time both would get the port: it is open
// between the calls of bindSealed. So they are made under a lock, and the second
// starter finds the port sealed.
func (m Mode) listenSealed(network string, cause error) (net.PacketConn, error) {
	refused, ok := errors.AsType[*net.OpError](cause)
	if !ok || !lateOptions() {
		return nil, cause
	}
	addr, ok := refused.Addr.(*net.UDPAddr)
	if !ok {
		return nil, cause
	}
	unlock, err := lockPort(addr.Port, time.Now().Add(lockWait))
	if err != nil {
		failed := *refused
		failed.Err = fmt.Errorf("%w, and it cannot be bound with SO_REUSEADDR: %w", refused.Err, err)
		return nil, &failed
	}
	defer unlock()
	return m.bindSealed(network, addr.String())
}

// bindSealed binds with SO_REUSEADDR and then clears it. After that nobody can bind
// the port: the kernel goes by the options of both sockets.
func (m Mode) bindSealed(network, address string) (net.PacketConn, error) {
	var seal bool
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if m&Port != 0 {
			if err := setPort(c); err != nil {
				return err
			}
		}
		// Package net sets SO_REUSEADDR before Control for a multicast
		// address, whose sockets are to keep it.
		multicast, err := hasAddr(c)
		if err != nil || multicast {
			return err
		}
		seal = true
		return setAddr(c)
	}}
	pc, err := config.ListenPacket(context.Background(), network, address)
	if err != nil || !seal {
		return pc, err
	}
	return adjust(pc, network, clearAddr)
}

func clearAddr(c syscall.RawConn) error {
	return setOption(c, unix.SO_REUSEADDR, "SO_REUSEADDR", 0)
}

func hasAddr(c syscall.RawConn) (bool, error) {
	var value int
	var failed error
	err := c.Control(func(fd uintptr) {
		value, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR)
	})
	if err == nil {
		err = os.NewSyscallError("getsockopt SO_REUSEADDR", failed)
	}
	return value != 0, err
}

// lockWait is how long a starter waits for others, who need two system calls.
const lockWait = time.Second

// lockName returns the address of the lock for a UDP port: a unix socket's in the
// abstract namespace, which belongs to the network namespace as the port does.
func lockName(port int) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@reuse-udp-%d", port)}
}

// lockPort keeps other starters from bindSealed at a port, of whatever address.
// The lock is a listener that nobody accepts from, so that it ends with its
// holder; and with it end the connections of those who wait for it.
func lockPort(port int, deadline time.Time) (unlock func(), err error) {
	for {
		ln, err := net.ListenUnix("unix", lockName(port))
		if err == nil {
			return func() { ln.Close() }, nil
		}
		if !inUse(err) {
			return nil, err
		}
		if !awaitEnd(lockName(port), deadline) {
			// The holder does not listen yet or any more, or too many wait.
			time.Sleep(time.Millisecond)
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("another process keeps the lock: %w", err)
		}
	}
}

// awaitEnd returns at the deadline, or when the listener at addr is closed. It
// returns false if there is nobody to wait for.
func awaitEnd(addr *net.UnixAddr, deadline time.Time) bool {
	conn, err := net.DialUnix("unix", nil, addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(deadline)
	// What ends it is the error, not what a stranger writes: a reset, since
	// nobody has accepted it.
	io.Copy(io.Discard, conn)
	return true
}
