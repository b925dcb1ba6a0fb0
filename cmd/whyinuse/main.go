// Whyinuse tells why an address is in use, by whom, and what frees it.
//
//	go run ./cmd/whyinuse [-json] [-wait 30s] [network] address
//
// It is for servers in any language: what it explains is what a server that
// binds the address now would be told by the kernel, "address already in use"
// most often. The network is one of package net's:
//
//	whyinuse tcp :9999              also tcp4 and tcp6
//	whyinuse udp 127.0.0.1:53       also udp4 and udp6
//	whyinuse unix /run/x.socket     also unixgram and unixpacket
//	whyinuse 9999                   tcp :9999, as does :9999
//	whyinuse /run/x.socket          unix
//
// A name for a host stands for the address that net.Listen takes, an IPv4 one if
// there is one.
//
// It takes connections, datagrams and ports from nobody. A port that a
// connection in TIME_WAIT keeps is in use, although a server that sets
// SO_REUSEADDR, as most do, can have it: the advice says so.
//
// Another user's processes are shown by root only; everybody else is told what
// could not be seen.
//
// # Flags
//
// -json prints one object, with these keys, also where the address is free:
// network and address as they were understood; free; cause, one of package
// inuse's, such as "listener"; advice; holders; unseen, a list of what could not
// be seen; changed, true if sockets came and went meanwhile; text, which is what
// is printed without -json. Each of holders has the keys cause, network, local,
// remote, path, v6_only, state, count, uid (-1: nobody's, or not known), user,
// inode, expires (in seconds; 0: not known), processes (each with pid, command and
// heir), cgroup, and options: those it has of SO_REUSEADDR and SO_REUSEPORT, or
// null where that is not known.
//
// -wait waits for so long at most until the address is free. Each change in who
// holds it is a line on standard error. An interrupt ends it as the end of that
// time does.
//
// # Exit code
//
//	0  the address is free: it could be bound just now
//	1  it is not; the explanation is on standard output
//	2  whyinuse was called wrongly, the host is unknown, or the system is one
//	   on which whyinuse cannot tell
//
// # Systems
//
// Linux tells all of it. On macOS and the BSDs whyinuse knows the paths of unix
// sockets, though not who has them, and on all others nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

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
	flags := flag.NewFlagSet("whyinuse", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print a JSON object")
	wait := flags.Duration("wait", 0, "wait for so `long`, such as 30s, until the address is free")
	flags.Usage = func() {
		fmt.Fprint(stderr, "Usage: whyinuse [-json] [-wait 30s] [network] address\n\n"+
			"  whyinuse tcp :9999            also tcp4 and tcp6; or just 9999\n"+
			"  whyinuse udp 127.0.0.1:53     also udp4 and udp6\n"+
			"  whyinuse unix /run/x.socket   also unixgram and unixpacket; or just the path\n\n"+
			"Exit code 0: it is free, 1: it is not, 2: cannot tell.\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return exitWrong // flags has said why
	}
	usage := func(problem any) int {
		fmt.Fprintf(stderr, "whyinuse: %v\n", problem)
		flags.Usage()
		return exitWrong
	}
	if *wait < 0 {
		return usage("-wait is negative")
	}
	t, err := parse(flags.Args())
	if err != nil {
		return usage(err)
	}

	var e *inuse.Error
	if *wait == 0 {
		e, err = t.look(ctx)
	} else {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
		e, err = waitFor(ctx, t, *wait, time.Second, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "whyinuse: %v\n", err)
		return exitWrong
	}
	write := writeText
	if *asJSON {
		write = writeJSON
	}
	if err := write(stdout, t, e); err != nil {
		fmt.Fprintf(stderr, "whyinuse: %v\n", err)
		return exitWrong
	}
	if free(e) {
		return exitFree
	}
	return exitInUse
}
