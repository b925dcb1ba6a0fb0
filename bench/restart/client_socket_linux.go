package main

import (
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// A socket client sends messages on a WebSocket, which are echoed. One that ends
// without a close frame is lost.
type socket struct {
	*client
	conn *websocket.Conn
	pid  int
}

func (s *socket) ask() error {
	time.Sleep(time.Duration((0.9 + 0.2*s.random.Float64()) * float64(s.scenario.Pause)))
	began := time.Now()
	err := s.echo()
	if websocket.IsCloseError(err, websocket.CloseGoingAway) {
		s.close()
		return nil // it comes again
	}
	s.load.count(err, time.Since(began))
	if err != nil {
		s.close()
	}
	return err
}

func (s *socket) echo() error {
	if s.conn == nil {
		dialer := websocket.Dialer{NetDial: dial, HandshakeTimeout: answerTime}
		conn, response, err := dialer.Dial("ws://"+s.dial+socketPath, nil)
		if err != nil {
			return &lostError{lostFirst, 0, err}
		}
		s.conn = conn
		s.pid, _ = strconv.Atoi(response.Header.Get(pidHeader))
	}
	s.conn.SetReadDeadline(time.Now().Add(answerTime))
	// After a close frame, the answer to this is to be read.
	err := s.conn.WriteMessage(websocket.TextMessage, []byte(question))
	if err == nil || !errors.Is(err, net.ErrClosed) {
		var text []byte
		_, text, err = s.conn.ReadMessage()
		if err == nil && string(text) != question {
			err = errors.New("another message: " + string(text))
		}
	}
	if err != nil && !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		return &lostError{lostSocket, s.pid, err}
	}
	return err
}

func (s *socket) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn = nil
}
