package main

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// A service is the HTTP server of a scenario with habits.
type service struct {
	habits habits
	srv    webServer
	pid    string
}

// pidHeader has the server's process id, for clients to know who lost their request.
const pidHeader = "Server-Pid"

// large is the size of a large answer.
const large = 1 << 20

const socketPath = "/socket"

func newService(w *way, ln net.Listener, s scenario) (*service, error) {
	a := &service{habits: *s.Habits, pid: strconv.Itoa(os.Getpid())}
	mux := http.NewServeMux()
	mux.HandleFunc("/", a.answer)
	mux.HandleFunc(socketPath, a.socket)
	srv := &http.Server{
		Handler: mux, IdleTimeout: a.habits.IdleTimeout,
		ErrorLog: log.New(io.Discard, "", 0), // a client that goes away is no news
	}
	if a.habits.Client == http2Client {
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetUnencryptedHTTP2(!a.habits.TLS)
		srv.Protocols.SetHTTP2(a.habits.TLS)
	}
	if a.habits.TLS {
		cert, err := selfSigned()
		if err != nil {
			return nil, err
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	a.srv = w.web(srv, ln)
	if a.habits.Activated {
		ln = w.shared(ln)
	}
	wrapped, err := wrap(a.habits, ln)
	if err != nil {
		return nil, err
	}
	go func() {
		time.Sleep(a.habits.Late)
		var err error
		if a.habits.TLS {
			err = a.srv.ServeTLS(wrapped, "", "")
		} else {
			err = a.srv.Serve(wrapped)
		}
		if err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	return a, nil
}

func (a *service) answer(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set(pidHeader, a.pid)
	if a.habits.KeepAlive {
		w.Header().Set("Connection", "keep-alive")
	}
	if a.habits.Answer > 0 {
		io.WriteString(w, answer[:1])
		http.NewResponseController(w).Flush()
		time.Sleep(a.habits.Answer)
		io.WriteString(w, answer[1:])
		return
	}
	if a.habits.Large > 0 {
		io.WriteString(w, strings.Repeat(" ", large-len(answer)))
	}
	io.WriteString(w, answer)
}

func (a *service) leave(ctx context.Context) error { return a.srv.Shutdown(ctx) }
func (a *service) finish(context.Context) error    { return nil }

// giveUp listens for a while, and ends.
func (w *way) giveUp(s scenario) error {
	ln, err := w.listen(s.Network, s.Address)
	if err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond)
	say(goneLine, ln.Addr())
	return nil
}
