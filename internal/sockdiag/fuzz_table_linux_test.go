package sockdiag

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzTable reads hostile tables of procfs. What it accepts makes sense, and is
// the same if it is written as the kernel does and read again.
func FuzzTable(f *testing.F) {
	corpus(f, func(_ string, file file, w truth, data []byte) {
		if file.table.protocol != 0 && file.table.name != "" {
			f.Add(data, w.BigEndian, file.table.family == unix.AF_INET6)
		}
	})
	f.Fuzz(func(t *testing.T, data []byte, big, v6 bool) {
		file := table{"tcp", unix.AF_INET, unix.IPPROTO_TCP}
		if v6 {
			file.family = unix.AF_INET6
		}
		sockets, _ := parseTable(bytes.NewReader(data), file, orderOf(big), all)
		if len(sockets) > bytes.Count(data, []byte("\n")) {
			t.Errorf("%d sockets in %q", len(sockets), data)
		}
		for _, s := range sockets {
			checkValid(t, s)
			again, err := parseLine(procLine(s, orderOf(big)), file, orderOf(big))
			if err != nil || again != s {
				t.Errorf("got  %+v, %v\nwant %+v", again, err, s)
			}
		}
	})
}

// procLine writes a line as tcp4_seq_show and tcp6_seq_show do.
func procLine(s Socket, order binary.ByteOrder) string {
	return fmt.Sprintf("%4d: %s %s %02X %08X:%08X %02X:%08X %08X %5d %8d %d %d %s %d",
		0, procAddr(s.Family, s.Local, order), procAddr(s.Family, s.Remote, order), uint8(s.State), 0, s.Queue,
		s.Timer, int64(s.Expires/ticks), s.Retransmits, s.UID, 0, s.Inode, 1, "0000000000000000", 0)
}

func procAddr(family uint8, addr netip.AddrPort, order binary.ByteOrder) string {
	var text strings.Builder
	ip := addr.Addr().AsSlice()
	if family == unix.AF_INET6 {
		mapped := addr.Addr().As16()
		ip = mapped[:]
	}
	for ; len(ip) > 0; ip = ip[4:] {
		fmt.Fprintf(&text, "%08X", order.Uint32(ip))
	}
	return fmt.Sprintf("%s:%04X", text.String(), addr.Port())
}
