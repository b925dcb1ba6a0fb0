package sockdiag

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// ReadProcUnix is [Conn.UnixSockets] from /proc/net/unix, which lacks uids and
// the files' inodes, and shows NULs as @.
func ReadProcUnix() ([]UnixSocket, error) { return readUnixTable(procNet + "unix") }

// ReadProcUnixOf is [ReadProcUnix] of the network namespace of a process.
func ReadProcUnixOf(pid int) ([]UnixSocket, error) {
	return readUnixTable(fmt.Sprintf("/proc/%d/net/unix", pid))
}

func readUnixTable(name string) ([]UnixSocket, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseUnixTable(f)
}

// parseUnixTable reads "Num RefCount Protocol Flags Type St Inode Path". A path
// may hold any byte but NUL, line breaks included: what does not look like a
// socket belongs to the path of the one before. One that does look so cannot be
// told apart.
func parseUnixTable(r io.Reader) ([]UnixSocket, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	_, text, _ = bytes.Cut(text, []byte("\n")) // the heading
	var sockets []UnixSocket
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n") {
		s, ok := parseUnixLine(line)
		switch {
		case ok:
			sockets = append(sockets, s)
		case len(sockets) > 0:
			sockets[len(sockets)-1].Name += "\n" + line
		case line != "":
			return nil, fmt.Errorf("/proc/net/unix: %q", line)
		}
	}
	return sockets, nil
}

// parseUnixLine reads what unix_seq_show prints: "%pK: %08X %08X %08X %04X %02X
// %5lu", and " %s" if there is a name.
func parseUnixLine(line string) (_ UnixSocket, ok bool) {
	head, rest, ok := strings.Cut(line, ": ")
	if !ok || len(head) < 8 || strings.ContainsAny(head, " \t") {
		return UnixSocket{}, false
	}
	// The columns up to the inode are of fixed width.
	const columns = len("00000002 00000000 00010000 0001 01 ")
	if len(rest) < columns+len("    0") {
		return UnixSocket{}, false
	}
	fields := strings.Split(rest[:columns], " ")
	if len(fields) != 6 || len(fields[2]) != 8 || len(fields[3]) != 4 || len(fields[4]) != 2 {
		return UnixSocket{}, false
	}
	number, name, _ := strings.Cut(strings.TrimLeft(rest[columns:], " "), " ")
	var p lineParser
	flags, kind := p.number(fields[2], 16, 32), p.number(fields[3], 16, 16)
	state, inode := p.number(fields[4], 16, 8), p.number(number, 10, 32)
	if p.err != nil {
		return UnixSocket{}, false
	}
	s := UnixSocket{Type: uint8(kind), State: Close, Inode: uint32(inode), Name: name}
	const accepting = 1 << 16 // __SO_ACCEPTCON
	const connecting, connected = 2, 3
	switch {
	case flags&accepting != 0:
		s.State = Listen
	case state == connecting, state == connected: // not accepted yet, or it is
		s.State = Established
	}
	return s, true
}
