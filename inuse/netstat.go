//go:build unix

package inuse

import "strings"

// netstat asks netstat for all sockets, also those that no process has, or that this
// user may not see the processes of. -W keeps it from cutting addresses.
func netstat(system string) tool {
	args := []string{"-an"}
	if system == "darwin" || system == "freebsd" {
		args = append(args, "-W")
	}
	return tool{paths: []string{"/usr/sbin/netstat", "/usr/bin/netstat"}, args: args}
}

// parseNetstat reads the output of netstat -an of macOS and the BSDs: a line a socket
// with the protocol, two queues, the addresses, and the state of TCP.
func parseNetstat(out []byte) (rows []row) {
	for line := range strings.SplitSeq(string(out), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		r := row{uid: -1}
		version := 4
		if strings.HasSuffix(fields[0], "6") {
			version = 6
		}
		var ok bool
		if r.network, r.dual, ok = networkOf(fields[0], version); !ok || r.network == "" {
			continue
		}
		if r.local, ok = parseAddrPort(fields[3], ".", version); !ok {
			continue
		}
		if addr, ok := parseAddrPort(fields[4], ".", version); ok {
			r.remote = remoteOf(addr)
		}
		if r.stream() {
			if r.state = "BOUND"; len(fields) > 5 {
				r.state = tcpState(fields[5])
			}
		}
		rows = append(rows, r)
	}
	return rows
}
