package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed client_python.py
var pythonClients string

// python is the name of the interpreter, or "".
func python() string {
	name, err := exec.LookPath("python3")
	if err != nil {
		return ""
	}
	return name
}

// startPython starts a scenario's clients, which are one process. It returns what
// ends them.
func (l *load) startPython(s scenario, seed uint64) (stop func(), err error) {
	host, port, err := net.SplitHostPort(s.Dial[0])
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(python(), "-c", pythonClients, host, port, fmt.Sprint(s.Clients), fmt.Sprint(s.Pause.Seconds()), fmt.Sprint(seed))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			took, err := pythonOutcome(strings.Fields(lines.Text()))
			l.count(err, took)
		}
	}()
	return func() {
		in.Close()
		<-read
		if err := cmd.Wait(); err != nil {
			l.count(err, 0)
		}
	}, nil
}

// pythonOutcome is what a line of the clients says.
func pythonOutcome(words []string) (took time.Duration, err error) {
	switch {
	case len(words) == 3 && words[0] == "ok":
		seconds, err := strconv.ParseFloat(words[2], 64)
		return time.Duration(seconds * float64(time.Second)), err
	case len(words) == 4 && words[0] == "lost":
		kinds := map[string]loss{"connect": lostConnect, "first": lostFirst, "request": lostRequest}
		errs := map[string]error{
			"RemoteDisconnected": io.EOF, "IncompleteRead": io.EOF, "ConnectionResetError": syscall.ECONNRESET,
			"BrokenPipeError": syscall.EPIPE, "ConnectionRefusedError": syscall.ECONNREFUSED,
		}
		pid, _ := strconv.Atoi(words[2])
		err := errs[words[3]]
		if err == nil {
			err = errors.New(words[3])
		}
		return 0, &lostError{kinds[words[1]], pid, err}
	}
	return 0, fmt.Errorf("a Python client says %q", words)
}
