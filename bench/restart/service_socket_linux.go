package main

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// socket echoes messages. One that is not deaf ends when the server drains.
func (a *service) socket(w http.ResponseWriter, r *http.Request) {
	var upgrader websocket.Upgrader
	conn, err := upgrader.Upgrade(w, r, http.Header{pidHeader: {a.pid}})
	if err != nil {
		return
	}
	defer conn.Close()
	over := make(chan struct{})
	var told sync.WaitGroup
	defer told.Wait()
	defer close(over)
	if !a.habits.Deaf {
		told.Go(func() {
			select {
			case <-over:
			case <-a.srv.Draining():
				bye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
				conn.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
				conn.SetReadDeadline(time.Now().Add(patience)) // for the client's
			}
		})
	}
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		err = conn.WriteMessage(kind, message)
		if err != nil && err != websocket.ErrCloseSent {
			return
		}
	}
}
