package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A kept client asks on one connection as long as it can. Its requests are POST, and
// must not be sent twice.
type kept struct {
	*client
	habits habits
	conn   net.Conn // nil: there is none
	raw    net.Conn
	in     *bufio.Reader
	pid    int // of the server, once it has answered
}

// answerTime bounds the wait for an answer.
const answerTime = time.Minute

func (k *kept) ask() error {
	k.idle()
	began := time.Now()
	keep, err := k.post()
	k.load.count(err, time.Since(began)-k.habits.Answer-k.habits.Head-k.habits.Early-k.habits.Large)
	if err != nil || !keep || k.habits.Client == closeClient {
		k.close()
	}
	return err
}

// idle pauses, about as long as the scenario says, and closes a connection that the
// server has closed, if it looks.
func (k *kept) idle() {
	pause := time.Duration((0.9 + 0.2*k.random.Float64()) * float64(k.scenario.Pause))
	if k.conn != nil && k.habits.Look == lookAlways {
		began := time.Now()
		k.conn.SetReadDeadline(began.Add(pause))
		if _, err := k.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			k.close()
		}
		pause -= time.Since(began)
	}
	time.Sleep(pause)
	if k.conn != nil && k.habits.Look == lookBefore && ended(k.raw) {
		k.close()
	}
}

func (k *kept) post() (keep bool, err error) {
	kind := lostRequest
	if k.pid == 0 {
		kind = lostFirst
	}
	if k.conn == nil {
		if err := k.connect(); err != nil {
			return false, k.lost(k.unconnected(err), err)
		}
	}
	k.conn.SetDeadline(time.Now().Add(answerTime))
	if k.pid == 0 {
		time.Sleep(k.habits.Early)
	}
	request := k.request()
	if request, err = k.sendParts(request); err != nil {
		return false, k.lost(lostHead, err)
	}
	if k.habits.Expect {
		head := len(request) - len(question)
		if _, err := io.WriteString(k.conn, request[:head]); err != nil {
			return false, k.lost(kind, err)
		}
		// With another answer than 100 Continue, receive finds fault.
		if response, err := http.ReadResponse(k.in, nil); err != nil || response.StatusCode != http.StatusContinue {
			return false, k.lost(kind, err)
		}
		request = request[head:]
	}
	if _, err := io.WriteString(k.conn, request); err != nil {
		return false, k.lost(kind, err)
	}
	return k.receive(kind)
}

// unconnected is what is lost by a client that gets no connection.
func (k *kept) unconnected(err error) loss {
	if k.habits.Alone && errors.Is(err, syscall.ECONNREFUSED) {
		return lostRefused
	}
	return lostConnect
}

func (k *kept) lost(kind loss, err error) error { return &lostError{kind, k.pid, err} }

func (k *kept) connect() error {
	conn, err := dial("tcp", k.dial)
	if err != nil {
		return err
	}
	k.conn, k.raw = conn, conn
	if k.habits.Wrap == wrapProxy {
		if _, err := io.WriteString(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 1024 80\r\n"); err != nil {
			return err
		}
	}
	if k.habits.TLS {
		secure := tls.Client(conn, clientTLS())
		if err := secure.Handshake(); err != nil {
			return err
		}
		k.conn = secure
	}
	k.in = bufio.NewReader(k.conn)
	return nil
}

// headParts is how many parts a head is sent in that takes a while.
const headParts = 5

// sendParts sends all but the last part of a request, if that takes a while, and
// returns the rest.
func (k *kept) sendParts(request string) (rest string, err error) {
	if k.habits.Head == 0 {
		return request, nil
	}
	size := len(request) / headParts
	for range headParts - 1 {
		if _, err := io.WriteString(k.conn, request[:size]); err != nil {
			return "", err
		}
		request = request[size:]
		time.Sleep(k.habits.Head / (headParts - 1))
	}
	return request, nil
}

func (k *kept) request() string {
	connection := ""
	if k.habits.Client == closeClient {
		connection = "Connection: close\r\n"
	}
	if k.habits.Expect {
		connection += "Expect: 100-continue\r\n"
	}
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: server\r\n%sContent-Length: %d\r\n\r\n%s", connection, len(question), question)
}

// receive reads an answer. If none comes, what is lost is of this kind.
func (k *kept) receive(kind loss) (keep bool, err error) {
	if _, err := k.in.Peek(1); err != nil {
		return false, k.lost(kind, err)
	}
	response, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return false, k.lost(lostAnswer, err)
	}
	defer response.Body.Close()
	k.pid, _ = strconv.Atoi(response.Header.Get(pidHeader))
	body, err := k.read(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || body != answer) {
		err = fmt.Errorf("another answer: %s: %s", response.Status, body)
	}
	if err != nil {
		return false, k.lost(lostAnswer, err)
	}
	return !response.Close, nil
}

// read reads an answer. A large one takes a while, and is mostly blank.
func (k *kept) read(from io.Reader) (string, error) {
	const part = large / 32
	for n := 0; k.habits.Large > 0 && n < large-part; n += part {
		if _, err := io.CopyN(io.Discard, from, part); err != nil {
			return "", err
		}
		time.Sleep(k.habits.Large * part / large)
	}
	body, err := io.ReadAll(from)
	return strings.TrimLeft(string(body), " "), err
}

func (k *kept) close() {
	if k.conn != nil {
		k.conn.Close()
		k.raw.Close()
	}
	k.conn, k.pid = nil, 0
}
