package main

import (
	"regexp"
	"strings"
	"time"
)

// usage is what -h prints.
const usage = `Usage: whyinuse [-json] [-wait 30s] [address...]

Tells who has a port or a socket file, and how to free it. It changes nothing.

  whyinuse                      everything that listens on this machine
  whyinuse 8080                 TCP port 8080; also :8080, localhost:8080, http://localhost:8080
  whyinuse 8080 9090            several
  whyinuse udp:53               UDP; also udp 53, 53/udp
  whyinuse 127.0.0.1:8080       one address; IPv6: [::1]:8080
  whyinuse tcp4:8080            IPv4 only; also tcp6, udp4, udp6
  whyinuse /run/app.sock        a Unix socket; also ./app.sock, unix:app.sock, @abstract

  -json       print one JSON object per address
  -wait 30s   wait until it is free, 30 seconds at most

As an ordinary user you see other users' sockets, but not their processes: use sudo.
Exit code: 0 free, 1 in use or not usable, 2 cannot tell or wrong call; of several, the highest.
`

// A call is what the arguments say.
type call struct {
	json, help bool
	wait       time.Duration
	targets    []target // none: everything that listens
}

// parseArguments reads the command line. If that is wrong, the call says at least
// whether JSON is wanted.
func parseArguments(args []string) (c call, err error) {
	words, waits, err := c.flags(args)
	switch {
	case c.help:
		return c, nil
	case err != nil:
		return c, err
	}
	network := ""
	for i, word := range words {
		named, supported, known := networkOf(word)
		switch {
		case known && !supported:
			return c, notSupported(named)
		case known && i+1 == len(words):
			return c, problemf("%s needs an address: whyinuse %s", named, example(named))
		case known:
			network = named
			continue
		case note.MatchString(word) && len(c.targets) > 0:
			continue
		}
		t, err := parse(network, word)
		if err != nil {
			return c, err
		}
		c.targets = append(c.targets, t)
	}
	if waits && len(c.targets) == 0 {
		return c, problem("-wait needs an address: whyinuse -wait 30s 8080")
	}
	return c, nil
}

// note is what lsof prints behind an address: its state.
var note = regexp.MustCompile(`^\([A-Z0-9_ -]+\)$`)

// example returns an address of the network.
func example(network string) string {
	switch network[:3] {
	case "uni":
		return network + ":app.sock"
	case "udp":
		return network + ":53"
	}
	return network + ":8080"
}

// flags reads the flags, which may stand anywhere before "--", and returns the other
// words. Waits says that -wait is among them.
func (c *call) flags(args []string) (words []string, waits bool, err error) {
	fail := func(wrong error) {
		if err == nil {
			err = wrong
		}
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			words = append(words, args...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			words = append(words, wordsOf(arg)...)
			continue
		}
		name, value, given := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		switch {
		case name == "json" && !given:
			c.json = true
		case (name == "h" || name == "help") && !given:
			c.help = true
		case name == "wait":
			waits = true
			if !given && len(args) > 0 {
				value, args = args[0], args[1:]
			}
			d, wrong := time.ParseDuration(value)
			if wrong != nil || d < 0 {
				fail(problem("-wait takes a time with its unit: -wait 30s"))
			}
			c.wait = d
		default:
			fail(problemf("unknown option %s; whyinuse -h shows all", clean(arg)))
		}
	}
	return words, waits, err
}

// wordsOf returns the words of an argument that was quoted as a whole, such as
// "TCP *:8080 (LISTEN)". A path may have blanks itself.
func wordsOf(arg string) []string {
	words := strings.Fields(arg)
	if isPath(arg) || strings.HasPrefix(strings.ToLower(arg), "unix") || len(words) == 0 {
		return []string{arg}
	}
	if len(words) == 1 {
		return words
	}
	if _, _, known := networkOf(words[0]); known || note.MatchString(words[len(words)-1]) {
		return words
	}
	return []string{arg}
}
