package sockdiag

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const unixHeading = "Num       RefCount Protocol Flags    Type St Inode Path\n"

// FuzzUnixTable reads hostile tables of unix sockets.
func FuzzUnixTable(f *testing.F) {
	corpus(f, func(_ string, file file, _ truth, data []byte) {
		if file.name == "unix" {
			f.Add(data)
		}
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		sockets, err := parseUnixTable(bytes.NewReader(data))
		if err != nil && len(sockets) > 0 || len(sockets) > 1+bytes.Count(data, []byte("\n")) {
			t.Errorf("%d sockets, %v", len(sockets), err)
		}
		for _, s := range sockets {
			if s.State.String() == "" || len(s.Name) > len(data) {
				t.Errorf("%+v", s)
			}
		}
	})
}

// FuzzUnixName writes two sockets as the kernel does, and reads them. Whatever the
// first one's name, both are there, unless it writes a socket itself.
func FuzzUnixName(f *testing.F) {
	for _, name := range oddNames {
		f.Add(name, uint32(4711))
	}
	f.Add("plain", uint32(0))
	f.Fuzz(func(t *testing.T, name string, inode uint32) {
		if strings.Contains(name, "\x00") || len(name) > 108 || strings.Contains(name, ": ") {
			return
		}
		want := []UnixSocket{{Type: 1, State: Listen, Inode: inode, Name: name}, {Type: 2, State: Close, Inode: 1 << 31, Name: "second"}}
		got, err := parseUnixTable(strings.NewReader(unixHeading + unixLine(want[0], 1<<16, 1) + unixLine(want[1], 0, 1)))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	})
}

// unixLine writes a line as unix_seq_show does.
func unixLine(s UnixSocket, flags, state int) string {
	line := fmt.Sprintf("%016x: %08X %08X %08X %04X %02X %5d", 1, 2, 0, flags, s.Type, state, s.Inode)
	if s.Name != "" {
		line += " " + s.Name
	}
	return line + "\n"
}
