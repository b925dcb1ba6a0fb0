//go:build unix

package inuse

import (
	"strconv"
	"strings"
)

// lsofFields are what is asked of lsof. Numbers stay numbers (-nP), its warnings
// unsaid (-w); it calls nothing that a lost file server would keep (-b), does not cut the
// names of programs (+c 0), and tells states and, where it can, options (-T fs). Each
// field ends with a zero byte.
var lsofFields = []string{"-nPwb", "+c", "0", "-T", "fs", "-F", "0pcuLRPtnTfd"}

// lsofPort asks lsof for the sockets of a port, whichever end of a connection has it; of
// all ports if it is 0.
func lsofPort(protocol string, port uint16) tool {
	if port == 0 {
		return lsof("-i", strings.ToUpper(protocol))
	}
	return lsof("-i", strings.ToUpper(protocol)+":"+strconv.Itoa(int(port)))
}

// lsofUnix asks lsof for all unix sockets. To ask for one would make it look at the file.
func lsofUnix() tool { return lsof("-U") }

func lsof(args ...string) tool {
	return tool{
		paths: []string{"/usr/sbin/lsof", "/usr/bin/lsof", "/usr/local/sbin/lsof", "/usr/pkg/sbin/lsof"},
		args:  append(append([]string{}, lsofFields...), args...),
	}
}

// parseLsof reads the output of lsof -F0: sets of fields, one of a process, then one of
// each of its files. What it does not know it leaves out.
func parseLsof(out []byte) (rows []row) {
	process := row{uid: -1}
	var file row
	var kind string // of the file
	flush := func() {
		if file.network != "" && (file.path != "" || file.local.IsValid()) {
			if file.stream() && file.state == "" && !file.remote.IsValid() {
				file.state = "BOUND"
			}
			rows = append(rows, file)
		}
		file, kind = row{}, ""
	}
	for field := range strings.SplitSeq(string(out), "\x00") {
		field = strings.TrimPrefix(field, "\n")
		if field == "" {
			continue
		}
		value := field[1:]
		switch field[0] {
		case 'p':
			flush()
			process = row{uid: -1}
			process.pid, _ = strconv.Atoi(value)
		case 'c':
			process.command = unescapeLsof(value)
		case 'u':
			if uid, err := strconv.Atoi(value); err == nil {
				process.uid = uid
			}
		case 'L':
			process.user = value
		case 'R':
			process.parent, _ = strconv.Atoi(value)
		case 'f':
			flush()
			file = process
		case 't':
			kind = value
			if kind == "unix" {
				file.network = "unix"
			}
		case 'd':
			file.socket = value
		case 'P':
			file.network, file.dual, _ = networkOf(value, lsofVersion(kind))
		case 'n':
			file.named(kind, value)
		case 'T':
			file.told(value)
		}
	}
	flush()
	return rows
}

func lsofVersion(kind string) int {
	switch kind {
	case "IPv4":
		return 4
	case "IPv6":
		return 6
	}
	return 0
}

// named reads the name of a file: "127.0.0.1:80->127.0.0.1:4711", or the path of a unix
// socket, behind which Linux has its type, and its peer's number.
func (r *row) named(kind, name string) {
	if kind == "unix" {
		for _, sign := range []string{" type=", " (LISTEN)", " (CONNECTED)", "->"} {
			name, _, _ = strings.Cut(name, sign)
		}
		switch {
		case strings.HasPrefix(name, "0x"), name == "no address", name == "socket", name == "(none)":
		case strings.HasPrefix(name, "@"):
			r.path = "\x00" + unescapeLsof(name[1:])
		default:
			r.path = unescapeLsof(name)
		}
		return
	}
	name, _, _ = strings.Cut(name, " ") // the state, if it is there as well
	local, remote, _ := strings.Cut(name, "->")
	version := lsofVersion(kind)
	r.local, _ = parseAddrPort(local, ":", version)
	if addr, ok := parseAddrPort(remote, ":", version); ok {
		r.remote = remoteOf(addr)
	}
}

// told reads what lsof tells of TCP: ST=LISTEN, SO=ACCEPTCONN,REUSEADDR.
func (r *row) told(info string) {
	name, value, _ := strings.Cut(info, "=")
	switch name {
	case "ST":
		if r.network == "unix" {
			return
		}
		r.state = tcpState(value)
	case "SO":
		r.options.Known = true
		for option := range strings.SplitSeq(value, ",") {
			option, _, _ = strings.Cut(option, "=")
			switch option {
			case "REUSEADDR":
				r.options.ReuseAddr = true
			case "REUSEPORT":
				r.options.ReusePort = true
			}
		}
	}
}

// unescapeLsof undoes what lsof does to characters that it does not print: \x1b, \n, \t
// and ^[ for a control character. That ^ may stand for itself, so it stays.
func unescapeLsof(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if s[i+1] == 'x' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		if at := strings.IndexByte("bfnrt\\", s[i+1]); at >= 0 {
			b.WriteByte("\b\f\n\r\t\\"[at])
			i++
			continue
		}
		b.WriteByte('\\')
	}
	return b.String()
}
