package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
)

// A target is an address to look at: those of net.Listen and net.ListenPacket.
type target struct {
	network, address string
}

// A problem is what is wrong with a call, in a sentence.
type problem string

func (p problem) Error() string { return string(p) }

func problemf(format string, args ...any) error { return problem(fmt.Sprintf(format, args...)) }

// schemePorts are the ports of URLs without one, where the scheme is no service's
// name.
var schemePorts = map[string]uint16{
	"ws": 80, "wss": 443, "postgres": 5432, "redis": 6379, "rediss": 6379, "mongodb": 27017, "nats": 4222, "mqtt": 1883,
}

// networkOf returns what a word names as a network, in package net's spelling.
// Known says that it is that of a protocol at all, supported that it is tcp, udp or
// unix.
func networkOf(word string) (network string, supported, known bool) {
	network = strings.ToLower(word)
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram", "unixpacket":
		return network, true, true
	case "sctp", "dccp", "icmp", "udplite", "quic", "tcp5", "udp5":
		return network, false, true
	}
	return "", false, false
}

// isPath reports whether a word is a path rather than the name of a host or service.
func isPath(word string) bool {
	for _, prefix := range []string{"/", "./", "../", "~", "@"} {
		if strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return word == "." || word == ".."
}

// parse reads one address as people write it, or as another program printed it.
// Network is that of a word before it, or "".
func parse(network, word string) (target, error) {
	if scheme, rest, ok := strings.Cut(word, "://"); ok && !isPath(word) {
		return parseURL(network, scheme, rest)
	}
	switch {
	case word == "":
		return target{}, noAddress(word)
	case strings.HasPrefix(network, "unix"):
		return parsePath(network, word)
	case isPath(word):
		return parsePath("unix", word)
	}
	if i := strings.IndexAny(word, ":/"); i > 0 { // tcp:8080, tcp/8080
		named, supported, known := networkOf(word[:i])
		switch {
		case known && !supported:
			return target{}, notSupported(named)
		case known:
			return parse(named, word[i+1:])
		}
	}
	network, word, err := printed(cmp.Or(network, "tcp"), word)
	if err != nil {
		return target{}, err
	}
	host, port, err := split(network, word)
	if err != nil {
		return target{}, err
	}
	return at(network, host, port), nil
}

func at(network, host string, port uint16) target {
	return target{network, net.JoinHostPort(host, strconv.Itoa(int(port)))}
}

func notSupported(network string) error {
	return problemf("%q is not supported: tcp, udp and unix are", network)
}

// parsePath reads the path of a unix socket.
func parsePath(network, word string) (target, error) {
	name := word
	if rest, ok := strings.CutPrefix(word, "//"); ok && strings.HasPrefix(rest, "/") {
		name = rest // of unix:///run/x
	}
	switch {
	case name == "@":
		return target{}, noAddress(word)
	case strings.ContainsRune(name, 0):
		return target{}, problemf("%q is no path: it has a byte that is 0", word)
	case name == "~" || strings.HasPrefix(name, "~/"):
		home, err := os.UserHomeDir()
		if err != nil {
			return target{}, problemf("%q: it is not known where your home directory is", word)
		}
		name = home + name[1:]
	case strings.HasPrefix(name, "~"):
		who, rest, _ := strings.Cut(name[1:], "/")
		u, err := user.Lookup(who)
		if err != nil {
			return target{}, problemf("%q: no user is called %q", word, who)
		}
		name = path.Join(u.HomeDir, rest)
	}
	return target{network, name}, nil
}

// parseURL reads scheme://rest.
func parseURL(network, scheme, rest string) (target, error) {
	named, supported, known := networkOf(scheme)
	switch {
	case known && !supported:
		return target{}, notSupported(named)
	case known && strings.HasPrefix(named, "unix"):
		return parse(named, rest)
	case known:
		network = named
	case network == "" || strings.HasPrefix(network, "unix"):
		network = "tcp"
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	authority := strings.TrimSuffix(rest[strings.LastIndexByte(rest, '@')+1:], ":") // without a user and a password
	if !known && strings.LastIndexByte(authority, ':') <= strings.LastIndexByte(authority, ']') {
		host := strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]")
		if host == "" || !isHost(host) {
			return target{}, noAddress(scheme + "://" + authority)
		}
		scheme = strings.ToLower(scheme)
		if port, ok := schemePorts[scheme]; ok {
			return at(network, host, port), nil
		}
		port, ok, _ := portOf(network, scheme)
		if !ok {
			return target{}, noPort(host)
		}
		return at(network, host, port), nil
	}
	host, port, err := split(network, authority)
	if err != nil {
		return target{}, err
	}
	return at(network, host, port), nil
}

// printed reads what other programs print of a port, such as 8080/tcp and, of docker,
// 0.0.0.0:8080->80/tcp. It returns the network and the local address, as host:port.
func printed(network, word string) (_, local string, err error) {
	local, remote, arrow := strings.Cut(word, "->")
	last := local
	if arrow {
		last = remote
	}
	if before, after, slash := strings.Cut(last, "/"); slash {
		named, supported, known := networkOf(after)
		switch {
		case known && !supported:
			return "", "", notSupported(named)
		case known && !strings.HasPrefix(named, "unix"):
			if !strings.HasPrefix(network, named) { // tcp4 is tcp, too
				network = named
			}
		case !strings.Contains(before, ":"): // it is no localhost:8080/index.html
			return "", "", noAddress(word)
		}
		if !arrow {
			local = before
		}
	}
	// The netstat of macOS and the BSDs has a dot before the port.
	if i := strings.LastIndexByte(local, '.'); i > 0 && isNumber(local[i+1:]) && !isAddr(local) && (local[:i] == "*" || isAddr(local[:i])) {
		local = net.JoinHostPort(strings.TrimPrefix(local[:i], "*"), local[i+1:])
	}
	return network, local, nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// A noPort is a host without a port.
type noPort string

func (host noPort) Error() string {
	name := clean(string(host))
	return fmt.Sprintf("%s has no port: whyinuse %s", name, net.JoinHostPort(name, "8080"))
}

// split returns the host, without brackets, and the port of an address.
func split(network, word string) (host string, port uint16, err error) {
	host, service := "", word
	switch colon := strings.LastIndexByte(word, ':'); {
	case strings.HasPrefix(word, "["):
		inside, after, _ := strings.Cut(word[1:], "]")
		switch {
		case !isAddr(inside) || after != "" && after[0] != ':':
			return "", 0, noAddress(word)
		case len(after) < 2:
			return "", 0, noPort(inside)
		}
		host, service = inside, after[1:]
	case colon >= 0:
		host, service = word[:colon], word[colon+1:]
		// Without brackets an IPv6 address can end where the port begins, as Node.js
		// prints it, or at the end.
		if strings.Contains(host, ":") && (!isAddr(host) || !isNumber(service)) {
			if isAddr(word) {
				return "", 0, noPort(word)
			}
			return "", 0, noAddress(word)
		}
	case isAddr(word), strings.EqualFold(word, "localhost"):
		return "", 0, noPort(word)
	}
	host = withoutDevice(host)
	port, ok, err := portOf(network, service)
	switch {
	case !isHost(host):
		return "", 0, noAddress(word)
	case ok, err != nil:
		return host, port, err
	case service == "" && host != "":
		return "", 0, noPort(host)
	case service == "" || service == word:
		return "", 0, noAddress(word)
	}
	return "", 0, problemf("%q is no port, nor the name of a service", service)
}

// withoutDevice returns the host of 127.0.0.53%lo and *%eth0, as ss prints them: such
// a zone is of IPv6 only. A star is all addresses.
func withoutDevice(host string) string {
	plain, _, _ := strings.Cut(host, "%")
	if addr, err := netip.ParseAddr(plain); err == nil && addr.Is4() {
		return plain
	}
	if plain == "*" {
		return ""
	}
	return host
}

// isHost reports whether s may be the name or the address of a host; "" is all
// addresses.
func isHost(s string) bool {
	if s == "" || isAddr(s) {
		return true
	}
	const most = 255
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r > 0x7f)
	}) && clean(s) == s
}

// portOf returns the port that a number or the name of a service stands for. It is
// not ok if that is neither.
func portOf(network, service string) (port uint16, ok bool, err error) {
	if isNumber(service) {
		n, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			return 0, false, problemf("%q is no port: ports go up to 65535", service)
		}
		return uint16(n), true, nil
	}
	if service == "" || strings.ContainsAny(service[:1], "+-") { // numbers, for package net
		return 0, false, nil
	}
	n, err := net.LookupPort(network, strings.ToLower(service))
	return uint16(n), err == nil && n > 0, nil
}

// noAddress says that word is none.
func noAddress(word string) error {
	if word != "" && clean(word) == word && !strings.ContainsAny(word, " :@[]*?!#~'\"\\$`(){}|&;<>") {
		return problemf("%q is no address; for a file: whyinuse ./%s", word, word)
	}
	return problemf("%q is no address; whyinuse -h shows what is", word)
}

// String returns what is asked about, in the middle of a sentence, such as "port 8080
// on 127.0.0.1".
func (t target) String() string {
	if strings.HasPrefix(t.network, "unix") {
		return clean(t.address)
	}
	host, port, _ := net.SplitHostPort(t.address)
	s := "port " + port
	if strings.HasPrefix(t.network, "udp") {
		s = "UDP port " + port
	}
	addr, err := netip.ParseAddr(host)
	switch all := err == nil && addr.IsUnspecified(); {
	case host != "" && !all:
		return s + " on " + clean(host)
	case strings.HasSuffix(t.network, "6"):
		return s + " on IPv6"
	case strings.HasSuffix(t.network, "4"), all && addr.Is4():
		return s + " on IPv4"
	}
	return s
}
