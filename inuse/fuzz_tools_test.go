//go:build unix

package inuse

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// FuzzLsof gives lsof's parser a socket and hostile names, between what is broken.
func FuzzLsof(f *testing.F) {
	f.Add("node", "x\x00TST=LISTEN", uint16(80), uint32(0x7f000001), false)
	f.Add("a\x1b[2J\nb", "f\x00n*:1", uint16(65535), uint32(0), true)
	f.Fuzz(func(t *testing.T, command, broken string, port uint16, ip uint32, star bool) {
		parseLsof([]byte(broken))
		addr := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, ip)))
		host := addr.String()
		if star {
			host, addr = "*", netip.IPv4Unspecified()
		}
		escaped := strings.NewReplacer("\x00", `\x00`, "\n", `\n`, `\`, `\\`).Replace(command)
		rows := parseLsof(fmt.Appendf(nil, "p7\x00c%s\x00u1000\x00Lalice\x00\nf3\x00tIPv4\x00PTCP\x00n%s:%d\x00TST=LISTEN\x00\n", escaped, host, port))
		if len(rows) != 1 || rows[0].local != netip.AddrPortFrom(addr, port) || rows[0].pid != 7 || rows[0].command != command {
			t.Errorf("%q at %s:%d: %+v", command, host, port, rows)
		}
	})
}

// FuzzColumns gives the parsers of columns anything: nothing that they return is
// unfit to be a holder.
func FuzzColumns(f *testing.F) {
	for _, line := range []string{
		"alice    Web Server 911   3   tcp46  *:8080  *:*  LISTEN", "tcp46 0 0 *.8080 *.* LISTEN", "alice app 950 5 stream /tmp/x -> ??",
		"612 1 612 501 Ss ?? 02-03:04:05 /bin/a b", "612\t0\tcom.apple.x", "50000 50059 *", "? ? ? ? udp6 *:* *:*",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range append(parseSockstat([]byte(text)), parseNetstat([]byte(text))...) {
			if len(r.network) < 4 || r.path == "" && !r.local.IsValid() || r.pid < 0 && r.user == "" && r.uid != -1 {
				t.Errorf("%q: %+v", text, r)
			}
		}
		for pid, line := range parsePs([]byte(text)) {
			if pid <= 0 || line.age < -1 {
				t.Errorf("%q: %+v", text, line)
			}
			line.argv("x y")
			line.script()
		}
		parseLaunchctl([]byte(text))
		if first, last, ok := excludedRange([]byte(text), 50001); ok && (first > 50001 || last < 50001) {
			t.Errorf("%q: %d-%d", text, first, last)
		}
	})
}
