package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listening returns when a listener listens. That of package handover does so when
// somebody accepts; only then is a server ready.
func listening(ln net.Listener) error {
	conn, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	// The kernel tells nobody.
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		listens := 0
		var failed error
		err := conn.Control(func(fd uintptr) {
			listens, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		})
		if err := errors.Join(err, os.NewSyscallError("getsockopt SO_ACCEPTCONN", failed)); err != nil || listens != 0 {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the socket does not listen")
		}
	}
}
