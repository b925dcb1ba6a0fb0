//go:build !js

// Rolling is an HTTP server that is replaced by another build of itself while it
// serves, and loses no request.
//
//	go run ./examples/rolling [-addr :8080] [-pid-file F]
//
// It answers every request with its process id. SIGHUP makes it start the
// program at its own path again, which is a new one if it was installed over the
// old; when that one listens, the old server hands over to it and ends. If the new
// one fails, the old one serves on. SIGTERM and SIGINT end it: if another process
// listens on the same port, it hands over first. Under systemd it is a service of
// Type=notify.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"example.com/reuse/handover"
)

const (
	startTimeout = 30 * time.Second // for the successor to listen
	drainTimeout = 60 * time.Second // for the last request
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("rolling: ")
	addr := flag.String("addr", ":8080", "`address` to listen on")
	pidFile := flag.String("pid-file", "", "`file` to write the process id to")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, *addr, *pidFile); err != nil {
		log.Fatal(err)
	}
}

// run serves until a signal ends it, or a successor takes over.
func run(stdout io.Writer, addr, pidFile string) error {
	// Apart, since a channel that is full loses the next signal.
	restart, stop := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(restart, syscall.SIGHUP)
	defer signal.Stop(restart)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(stop)

	ln, err := handover.Listen("tcp", addr)
	if err != nil {
		return err
	}
	srv := &handover.HTTPServer{Server: &http.Server{Handler: http.HandlerFunc(answer)}}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	if pidFile != "" {
		if err := writePID(pidFile); err != nil {
			srv.Close()
			return err
		}
	}
	fmt.Fprintln(stdout, "listening on", ln.Addr(), "as", os.Getpid())
	if err := ready(); err != nil {
		srv.Close()
		return err
	}
	for {
		succeeded := false
		select {
		case err := <-served:
			return err
		case <-restart:
			// The successor has the address in full, if it was :0.
			if err := successor(ln.Addr().String()); err != nil {
				log.Printf("no successor: %v", err)
				continue
			}
			succeeded = true
		case <-stop:
		}
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		srv.NeedSuccessor = succeeded
		err := srv.Shutdown(ctx)
		cancel()
		if errors.Is(err, handover.ErrNoSuccessor) {
			log.Print("the successor is gone: ", err)
			if pidFile != "" {
				err = writePID(pidFile)
			}
			if err != nil {
				log.Print(err)
			}
			continue
		}
		return err
	}
}

func answer(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, os.Getpid())
}

// readyEnv names the descriptor on which a successor tells that it listens.
const readyEnv = "ROLLING_READY"

// ready tells who started this process. Systemd is the first, since it has to
// know its new main process before the old one ends.
func ready() error {
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		conn, err := net.Dial("unixgram", socket)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "MAINPID=%d\nREADY=1", os.Getpid()); err != nil {
			return err
		}
	}
	fd, err := strconv.Atoi(os.Getenv(readyEnv))
	if err != nil {
		return nil // not by one like this
	}
	os.Unsetenv(readyEnv)
	pipe := os.NewFile(uintptr(fd), "ready")
	defer pipe.Close()
	_, err = fmt.Fprintln(pipe, "listening")
	return err
}

// successor starts the program again, and returns when it listens at addr.
func successor(addr string) error {
	program, err := os.Executable() // without " (deleted)", if it was replaced
	if err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(program, slices.Concat(os.Args[1:], []string{"-addr", addr})...) // the last -addr counts
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{in} // descriptor 3
	cmd.Env = append(os.Environ(), readyEnv+"=3")
	err = cmd.Start()
	in.Close()
	if err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }() // no zombie, if it ends first
	out.SetReadDeadline(time.Now().Add(startTimeout))
	line, err := bufio.NewReader(out).ReadString('\n')
	if line == "listening\n" {
		return nil
	}
	cmd.Process.Kill()
	return fmt.Errorf("%s does not listen: %w", program, errors.Join(err, <-exited))
}

// writePID replaces the file at once, so that nobody reads half of it.
func writePID(file string) error {
	temp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(temp, os.Getpid())
	err = errors.Join(err, temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}
