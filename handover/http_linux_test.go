package handover_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
)

// serveHTTP is an HTTP server that says when it has the first request, and obeys
// "shutdown", and "close", which is what servers do without this package; then
// "cancel", which ends the context.
func serveHTTP(args []string) error {
	flags := flag.NewFlagSet("serve http", flag.ContinueOnError)
	secure := flags.Bool("tls", false, "")
	listeners := flags.Int("listeners", 1, "")
	hold := flags.Bool("hold", false, "")
	addr := flags.String("addr", addr, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var states, requests atomic.Int64
	const free = 100 // requests, by which the load is running; with -hold the next last until the listener is drained
	holding, drained := make(chan struct{}), make(chan struct{})
	srv := &handover.HTTPServer{Server: &http.Server{
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnState: func(net.Conn, http.ConnState) { states.Add(1) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			n := requests.Add(1)
			if n == 1 {
				fmt.Println("serving")
			}
			if *hold && n > free {
				if n == free+1 {
					close(holding)
				}
				select {
				case <-drained:
				case <-r.Context().Done():
				}
			}
			fmt.Fprintln(w, os.Getpid())
		}),
	}}
	if *secure {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	}
	var lns []*handover.Listener
	var serving sync.WaitGroup
	var failed atomic.Value
	for range *listeners {
		ln, err := handover.Listen("tcp4", *addr)
		if err != nil {
			return err
		}
		lns = append(lns, ln)
	}
	fmt.Println("listening", os.Getpid())
	for _, ln := range lns {
		serving.Go(func() {
			var err error
			if *secure {
				err = srv.ServeTLS(ln, "", "")
			} else {
				err = srv.Serve(ln)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed.Store(err)
			}
		})
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	go func() {
		if line, _ := in.ReadString('\n'); line == "cancel\n" {
			cancel()
		}
	}()
	if line == "shutdown\n" {
		if *hold {
			<-holding
			if err := lns[0].Drain(ctx); err != nil {
				return err
			}
			close(drained)
		}
		if err = srv.Shutdown(ctx); err != nil {
			fmt.Println(err)
		}
	} else {
		err = srv.Server.Shutdown(ctx)
	}
	serving.Wait()
	if failed := failed.Load(); failed != nil {
		return failed.(error)
	}
	if states.Load() == 0 {
		return errors.New("ConnState was not called")
	}
	return err
}

// loadHTTP sends requests that a client must not repeat by itself (POST), and
// counts.
func loadHTTP(args []string) error {
	flags := flag.NewFlagSet("load http", flag.ContinueOnError)
	// So few on a slow machine that none of them is idle for as long as Shutdown
	// waits.
	clients := flags.Int("n", 32/testnet.Slowness(), "")
	scheme := flags.String("scheme", "http", "")
	keep := flags.Bool("keep", true, "")
	hold := flags.Bool("hold", false, "the server holds requests, and is left before it ends")
	two := flags.Bool("http2", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var ok, lost, slow atomic.Int64
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var stop atomic.Bool
	var first sync.Once
	var running sync.WaitGroup
	for range *clients {
		transport := &http.Transport{
			DisableKeepAlives: !*keep,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			ForceAttemptHTTP2: *two,
		}
		client := &http.Client{Transport: transport, Timeout: guard}
		running.Go(func() {
			defer transport.CloseIdleConnections()
			for !stop.Load() {
				start := time.Now()
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, *scheme+"://"+addr, strings.NewReader("hello"))
				if err != nil {
					panic(err)
				}
				resp, err := client.Do(request)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if *two && resp.ProtoMajor != 2 {
						err = fmt.Errorf("answered by %s", resp.Proto)
					}
				}
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					if lost.Add(1) <= 3 {
						fmt.Fprintln(os.Stderr, "load http:", err)
					}
				} else if ok.Add(1) >= int64(*clients) {
					first.Do(func() { fmt.Println("running") })
				}
				if time.Since(start) > 900*time.Millisecond {
					slow.Add(1)
				}
			}
		})
	}
	io.Copy(io.Discard, os.Stdin)
	stop.Store(true)
	if *hold {
		end()
	}
	running.Wait()
	fmt.Println(ok.Load(), lost.Load(), slow.Load())
	return nil
}

// HTTP servers are replaced under load, and every request is answered. The
// control shuts the server down without package handover.
func TestRestartHTTP(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	for _, test := range []struct {
		name, server, load string
		repeats            bool // the control loses nothing: nobody is idle, or the client repeats
		long               bool
	}{
		{"keep-alive", "", "", false, false},
		{"one request each", "", "-keep=false", false, true},
		{"requests that last", "-hold", "-hold", true, true},
		{"two listeners", "-listeners 2", "", false, false},
		{"TLS", "-tls", "-scheme https", false, false},
		{"HTTP2", "-tls", "-scheme https -http2", true, false},
	} {
		if test.long && !testnet.Long {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			restarts := func(drain bool) (lost int) {
				how := "close"
				if drain {
					how = "shutdown"
				}
				server := start(t, nobody, "serve http", strings.Fields(test.server)...)
				clients := start(t, nobody, "load http", strings.Fields(test.load)...)
				for range times(5) {
					next := start(t, nobody, "serve http", strings.Fields(test.server)...)
					server.expect(t, "serving")
					server.tell(t, how)
					if err := server.Wait(); err != nil {
						t.Fatal(err)
					}
					server = next
				}
				ok, lost, _ := clients.counts(t)
				t.Logf("%s: %d requests, %d lost", how, ok, lost)
				server.tell(t, "close")
				server.Wait()
				return lost
			}
			if !test.repeats {
				lossless(t, restarts)
			} else if lost := restarts(true); lost > 0 {
				t.Errorf("%d lost", lost)
			}
		})
	}
}

// certificate is that of httptest's servers.
func certificate() tls.Certificate {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS()
	defer srv.Close()
	return srv.TLS.Certificates[0]
}
