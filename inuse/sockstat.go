//go:build unix

package inuse

import (
	"strconv"
	"strings"
)

// sockstat asks sockstat for the sockets of a port of TCP or UDP, of all ports if it is
// 0, or for all unix sockets. System is runtime.GOOS: FreeBSD's can tell more (-s states,
// -w without cutting).
func sockstat(system, protocol string, port uint16) tool {
	args := []string{"-4", "-6"}
	if protocol == "unix" {
		args = []string{"-u"}
	}
	switch system {
	case "netbsd":
		args = append(args, "-n")
	case "freebsd":
		args = append(args, "-w")
		if protocol != "unix" {
			args = append(args, "-s", "-P", protocol)
		}
	}
	if port != 0 {
		args = append(args, "-p", strconv.Itoa(int(port)))
	}
	return tool{paths: []string{"/usr/bin/sockstat"}, args: args}
}

// parseSockstat reads the output of sockstat of FreeBSD, DragonFly and NetBSD: a line a
// descriptor with USER, COMMAND, PID, FD, PROTO and the two addresses, and FreeBSD's
// state. A question mark in the first ones means that no process has the socket.
func parseSockstat(out []byte) (rows []row) {
	for line := range strings.SplitSeq(string(out), "\n") {
		fields := strings.Fields(line)
		i := sockstatProtocol(fields)
		if i < 0 || i+1 >= len(fields) {
			continue
		}
		r := row{uid: -1}
		if fields[i-2] != "?" {
			r.pid, _ = strconv.Atoi(fields[i-2])
			r.user, r.command = fields[0], strings.Join(fields[1:i-2], " ")
			if uid, err := strconv.Atoi(r.user); err == nil {
				r.uid, r.user = uid, ""
			}
		}
		if network, ok := sockstatUnix[fields[i]]; ok {
			r.network = network
			_, rest, _ := strings.Cut(line, " "+fields[i]+" ")
			for _, sign := range []string{" ->", " <-", " -"} {
				rest, _, _ = strings.Cut(rest+" ", sign)
			}
			if r.path = strings.TrimSpace(rest); strings.HasPrefix(r.path, "/") {
				rows = append(rows, r)
			}
			continue
		}
		if r.inet(fields[i:]) {
			rows = append(rows, r)
		}
	}
	return rows
}

// sockstatUnix are the kinds of unix sockets.
var sockstatUnix = map[string]string{"stream": "unix", "dgram": "unixgram", "seqpac": "unixpacket", "seqpacket": "unixpacket", "seq": "unixpacket"}

// sockstatProtocol returns which of the fields is the protocol, -1 if none is. The name
// of a program can have spaces in it.
func sockstatProtocol(fields []string) int {
	number := func(s string) bool { _, err := strconv.Atoi(s); return err == nil || s == "?" }
	for i := 4; i < len(fields); i++ {
		_, _, inet := networkOf(fields[i], 4)
		_, unix := sockstatUnix[fields[i]]
		if (inet || unix) && number(fields[i-1]) && number(fields[i-2]) {
			return i
		}
	}
	return -1
}

// inet reads the protocol, the addresses and the state, which not all systems have.
func (r *row) inet(fields []string) (ok bool) {
	if len(fields) < 3 {
		return false
	}
	version := 4
	if strings.HasSuffix(fields[0], "6") {
		version = 6
	}
	if r.network, r.dual, ok = networkOf(fields[0], version); !ok || r.network == "" {
		return false
	}
	separator := ":"
	if !strings.Contains(fields[2], ":") || strings.HasSuffix(fields[2], ".*") { // NetBSD's *.*, 127.0.0.1.80
		separator = "."
	}
	if r.local, ok = parseAddrPort(fields[1], separator, version); !ok {
		if r.local, ok = parseAddrPort(fields[1], ".", version); !ok {
			return false
		}
		separator = "."
	}
	if addr, known := parseAddrPort(fields[2], separator, version); known {
		r.remote = remoteOf(addr)
	}
	if !r.stream() {
		return true
	}
	switch last := fields[len(fields)-1]; {
	case len(fields) > 3 && last == strings.ToUpper(last):
		r.state = tcpState(last)
	case r.remote.IsValid():
		r.state = "ESTABLISHED"
	default:
		r.state = "LISTEN"
	}
	return true
}
