// Whyinuse tells who has a port or a socket file, and how to free it.
//
//	whyinuse [-json] [-wait 30s] [address...]
//
// It is for servers in any language. What it explains is what a server would be told
// that binds the address now: "address already in use" most often. It changes nothing,
// and takes connections and datagrams from nobody.
//
// # Addresses
//
// An address is what people write, and what other programs print:
//
//	8080  :8080  *:8080  :::8080          a TCP port; also the name of a service, http
//	127.0.0.1:8080  [::1]:8080            at one address; also 127.0.0.1.8080, of netstat
//	localhost:8080  http://localhost      at each address of a host
//	tcp4:8080  udp:53  udp 53  53/udp     of a network: tcp, tcp4, tcp6, udp, udp4, udp6
//	TCP *:8080 (LISTEN)                   of lsof
//	0.0.0.0:8080->80/tcp                  of docker
//	/run/app.sock  ./app.sock  ~/x        a Unix socket; also unix:app.sock, unix:///run/x
//	@abstract                             an abstract Unix socket
//
// A slash means a path only if the address begins with /, ./, ../ or ~. The word tcp,
// udp or unix is for all addresses behind it. Of unix sockets there are also unixgram
// and unixpacket. Without an address whyinuse lists everything that listens.
//
// A name for a host stands for all of its addresses. If one of them is not free,
// neither is the name.
//
// A port that a connection in TIME_WAIT keeps is in use, although a server that sets
// SO_REUSEADDR, as most do, can have it: the text says so.
//
// Processes of other users are seen by root only. Everybody else is told what was not
// seen.
//
// # Flags
//
// -json prints an object in one line for each address, in every case:
//
//	network     "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram" or "unixpacket"
//	address     such as ":8080", "[::1]:8080", "localhost:8080" or a path
//	free        true, false, or null if that is not known
//	cause       one of package inuse's, such as "listener"
//	holders     the sockets in the way, the decisive one first: a list of objects
//	remedies    what helps, the best first: a list of objects
//	unseen      what could not be seen: a list of sentences without a full stop
//	hints       what else is worth knowing: the same
//	error       what is wrong with the call, or ""
//	text        what is printed without -json
//
// Of a holder:
//
//	name        of who has it, such as "python3 app.py"
//	network     as above, but always with the IP version: "tcp4"
//	local       such as "0.0.0.0:8080"; "" for a Unix socket
//	remote      of a connection; else ""
//	path        of a Unix socket; else ""
//	device      the network interface to which it is bound, or ""
//	v6_only     true if it takes no IPv4
//	state       "LISTEN", "TIME_WAIT" and so on; "BOUND"; of UDP "UNCONN" or "ESTABLISHED"
//	count       how many sockets are alike
//	uid         of the socket's owner; -1 if it has none, or that is not known
//	user        the owner's name, or ""
//	unit        of systemd, such as "nginx.service", or ""
//	container   such as "Docker container 4f2a9c1b2d3e", or ""
//	options     those of "SO_REUSEADDR" and "SO_REUSEPORT" that it is known to have: a list
//	expires     the seconds until the last of them is gone by itself; 0 if that is not known
//	processes   those that have it, the oldest first: a list of objects
//
// Of a process:
//
//	pid         its number
//	name        such as "python3 app.py"
//	command     the name of its program
//	started     when, as in RFC 3339; "" if that is not known
//	state       "running", "stopped", "traced" or "zombie"; "" if that is not known
//	parent      the pid of its parent; 0 if that is not known
//	supervisor  what starts it again when it ends, or ""
//	tracer      the pid of its debugger, or 0
//	inherited   true if it has the socket from an older process
//
// Of a remedy:
//
//	kind        a word for programs, such as "stop-service"
//	text        what it is, such as "stop the service"
//	command     for a shell, without sudo; "" if there is none
//	needs_root  true if the command takes root, which whyinuse is not
//
// Without an address it prints one object: listening, a list of holders, each with the
// key remedy; unseen, error and text.
//
// -wait waits until all addresses are free, for so long at most. Each change in who has
// one is a line on standard error. It does not wait for what does not end by itself. An
// interrupt ends it as the end of that time does.
//
// Flags may stand anywhere. What follows "--" is no flag.
//
// # Exit code
//
//	0  the address is free; or there is none, and the list is printed
//	1  it is not, or cannot be used; the explanation is on standard output
//	2  it cannot be told, or the call is wrong
//
// Of several addresses it is the highest.
//
// # Systems
//
// Package inuse documents what it tells on which systems.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"

	"example.com/reuse/inuse"
)

// The exit codes.
const (
	exitFree  = 0
	exitInUse = 1
	exitWrong = 2
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run is main. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	code, err := answer(ctx, args, stdout, stderr)
	if err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("the output cannot be written: %w", failed.Err)
		}
		fmt.Fprintf(stderr, "whyinuse: %v\n", err)
		return exitWrong
	}
	return code
}

// answer is run. The error is that of stdout.
func answer(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	c, err := parseArguments(args)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "whyinuse: %v\n", err)
		if c.json {
			return exitWrong, writeJSON(stdout, wrongObject(target{}, err.Error()))
		}
		return exitWrong, nil
	case c.help:
		_, err := io.WriteString(stdout, usage)
		return exitFree, err
	case len(c.targets) == 0:
		return list(ctx, c.json, stdout, stderr)
	}
	var results []result
	if c.wait > 0 {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		results = newWaiter(c.wait, stderr).wait(ctx, c.targets)
	}
	code, printed := exitFree, false
	for i, t := range c.targets {
		var r result
		if c.wait > 0 {
			r = results[i]
		} else {
			r = t.look(ctx)
		}
		if err := r.write(printed, c.json, stdout, stderr); err != nil {
			return exitWrong, err
		}
		printed = printed || r.err == nil
		code = max(code, r.code())
	}
	return code, nil
}

// write prints r, after others if there are any.
func (r result) write(more, asJSON bool, stdout, stderr io.Writer) (err error) {
	switch {
	case r.err != nil:
		fmt.Fprintf(stderr, "whyinuse: %v\n", r.err)
		if asJSON {
			err = writeJSON(stdout, wrongObject(r.target, r.err.Error()))
		}
	case asJSON:
		err = writeJSON(stdout, objectOf(r.target, r.e))
	default:
		text := r.e.Text()
		if more {
			text = "\n" + text
		}
		_, err = io.WriteString(stdout, text)
	}
	return err
}

// code returns the exit code of r.
func (r result) code() int {
	switch {
	case r.err != nil:
		return exitWrong
	case r.e.Cause == inuse.CauseUnknown:
		return exitWrong
	case r.e.Cause == inuse.CauseFree:
		return exitFree
	}
	return exitInUse
}

// list prints everything that listens.
func list(ctx context.Context, asJSON bool, stdout, stderr io.Writer) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	all, err := inuse.Listening(ctx)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "whyinuse: %v\n", err)
		if asJSON {
			return exitWrong, writeJSON(stdout, listing{Listening: []listener{}, Unseen: []string{}, Error: clean(err.Error())})
		}
		return exitWrong, nil
	case asJSON:
		return exitFree, writeJSON(stdout, listingOf(all))
	}
	_, err = io.WriteString(stdout, all.Text())
	return exitFree, err
}
