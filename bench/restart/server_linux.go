package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// A serverConfig says what a server process does.
type serverConfig struct {
	Strategy string
	Scenario scenario
	First    bool // it has no predecessor
	GiveUp   bool // it listens, and ends
}

// leaveSignal tells a server to give its place to its successor, or with
// descriptor passing, to start one.
const leaveSignal = syscall.SIGUSR1

// Lines that servers print on the pipe that they all share:
//
//	<pid> ready <pid of the parent>
//	<pid> left <leaving, in JSON>
//	<pid> refused <error>
//	<pid> gone
const (
	readyLine   = "ready"
	leftLine    = "left"
	refusedLine = "refused"
	goneLine    = "gone"
)

func say(verb string, value any) {
	fmt.Fprintf(os.Stdout, "%d %s %v\n", os.Getpid(), verb, value)
}

// An application is a running server of one kind.
type application interface {
	// leave takes the socket out of service. If it fails, the application
	// serves on.
	leave(context.Context) error
	// finish answers what was accepted.
	finish(context.Context) error
}

// serve is the server process.
func serve(c serverConfig) error {
	// Asked for now: one that passes its descriptors on is gone once this one
	// is ready.
	parent := os.Getppid()
	if err := unprivileged(); err != nil {
		return err
	}
	leave := make(chan os.Signal, 16)
	signal.Notify(leave, leaveSignal)
	// The harness holds the other end as long as it lives.
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(2)
	}()

	w, err := newWay(c)
	if err != nil {
		return err
	}
	if c.GiveUp {
		return w.giveUp(c.Scenario)
	}
	if h := c.Scenario.Habits; h != nil && c.First {
		h.Late = 0
	}
	a, err := w.application(c.Scenario)
	if err != nil {
		return err
	}
	if err := w.ready(); err != nil {
		return err
	}
	say(readyLine, parent)
	for range leave {
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), c.Scenario.deadline())
		err := a.leave(ctx)
		cancel()
		l, ok := left(err, time.Since(began))
		if !ok {
			say(refusedLine, strings.ReplaceAll(l.Error, "\n", "; "))
			continue
		}
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		say(leftLine, string(text))
		break
	}
	// No client is waited for longer than patience.
	ctx, cancel := context.WithTimeout(context.Background(), patience+patience/2)
	defer cancel()
	return a.finish(ctx)
}

// unprivileged fails unless this process is an ordinary user's, without
// capabilities.
func unprivileged() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if os.Getuid() == 0 || !bytes.Contains(status, []byte("\nCapEff:\t0000000000000000\n")) {
		return errors.New("the server has privileges")
	}
	return nil
}
