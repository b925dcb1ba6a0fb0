package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// perConn is how many clients of HTTP/2 have one connection together.
const perConn = 4

// A shared is net/http's client of HTTP/2, which several clients have.
type shared struct {
	transport *http.Transport
	scheme    string
	pids      sync.Map // of servers, by connection
}

func newShared(s scenario) *shared {
	t := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: clientTLS()}
	t.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(network, address)
		if err == nil {
			conn.SetDeadline(time.Time{}) // requests have theirs
		}
		return conn, err
	}
	if s.Habits.TLS {
		t.Protocols.SetHTTP2(true)
		return &shared{transport: t, scheme: "https"}
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &shared{transport: t, scheme: "http"}
}

// A streams is a client of HTTP/2.
type streams struct {
	*client
	habits habits
	*shared
}

func (c *streams) ask() error {
	time.Sleep(time.Duration((0.9 + 0.2*c.random.Float64()) * float64(c.scenario.Pause)))
	began := time.Now()
	err := c.post()
	c.load.count(err, time.Since(began)-c.habits.Answer)
	return err
}

func (c *streams) post() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	var sent atomic.Bool
	var conn atomic.Value
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			conn.Store(connOf(info.Conn))
			sent.Store(false)
		},
		WroteHeaders: func() { sent.Store(true) },
	})
	var body io.Reader = strings.NewReader(question)
	if !c.habits.Replayable {
		body = struct{ io.Reader }{body}
	}
	r, err := http.NewRequestWithContext(ctx, "POST", c.scheme+"://"+c.dial+"/", body)
	if err != nil {
		return err
	}
	r.ContentLength = int64(len(question))
	lost := func(kind loss, err error) error {
		pid, _ := c.pids.Load(conn.Load())
		number, _ := pid.(int)
		return &lostError{kind, number, err}
	}
	response, err := c.transport.RoundTrip(r)
	switch {
	case err != nil && conn.Load() == nil:
		return lost(lostConnect, err)
	case err != nil && !sent.Load():
		return lost(lostUnsent, err)
	case err != nil:
		return lost(lostRequest, err)
	}
	defer response.Body.Close()
	pid, _ := strconv.Atoi(response.Header.Get(pidHeader))
	c.pids.Store(conn.Load(), pid)
	text, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || string(text) != answer) {
		err = fmt.Errorf("another answer: %s: %s", response.Status, text)
	}
	if err != nil {
		return lost(lostAnswer, err)
	}
	return nil
}

// connOf returns the address of a connection, which is its name.
func connOf(c net.Conn) string {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.LocalAddr().String()
}

func (c *streams) close() { c.transport.CloseIdleConnections() }
