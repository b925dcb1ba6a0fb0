package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A keptConn is a client's connection between two requests.
type keptConn struct {
	conn net.Conn
	in   *bufio.Reader
	used int
}

// mostRequests is how often a connection is used.
const mostRequests = 50

// http makes one POST request, which must not be sent twice: so net/http's
// client, which repeats some by itself, would not do.
func (c *client) http() error {
	time.Sleep(c.pause())
	if c.kept != nil && (c.kept.used >= mostRequests || ended(c.kept.conn)) {
		c.kept.conn.Close()
		c.kept = nil
	}
	began := time.Now()
	keep, err := c.post()
	c.load.counter.count(err, time.Since(began))
	if c.kept != nil && (err != nil || !keep) {
		c.kept.conn.Close()
		c.kept = nil
	}
	return err
}

func (c *client) post() (keep bool, err error) {
	if c.kept == nil {
		conn, err := dial("tcp", c.dial)
		if err != nil {
			return false, err
		}
		c.kept = &keptConn{conn: conn, in: bufio.NewReader(conn)}
	}
	c.kept.used++
	c.kept.conn.SetDeadline(time.Now().Add(patience))
	path, header := "/", ""
	if c.random.IntN(10) == 0 {
		path = slowPath
	}
	if !c.scenario.KeepAlive {
		header = "Connection: close\r\n"
	}
	_, err = fmt.Fprintf(c.kept.conn, "POST %s HTTP/1.1\r\nHost: server\r\n%sContent-Length: %d\r\n\r\n%s",
		path, header, len(question), question)
	if err != nil {
		return false, err
	}
	response, err := http.ReadResponse(c.kept.in, nil)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || string(body) != answer) {
		err = fmt.Errorf("another answer: %s: %s", response.Status, body)
	}
	return !response.Close, err
}

// ended reports whether the server has closed a connection. A client that sees
// it in time loses nothing.
func ended(conn net.Conn) bool {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		ended = !errors.Is(err, unix.EAGAIN)
	})
	return err != nil || ended
}
