package main

import (
	"io"
	"net"
	"time"
)

// unwantedClients connect from the address that the filter refuses, until over is
// closed.
func unwantedClients(target string, over <-chan struct{}) error {
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: unwanted}}
	for {
		// What becomes of it is the filter's business.
		if conn, err := dialer.Dial("tcp", target); err == nil {
			conn.SetDeadline(time.Now().Add(patience))
			io.Copy(io.Discard, conn)
			conn.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-over:
			return nil
		}
	}
}
