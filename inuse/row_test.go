//go:build unix || windows

package inuse

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// recorded returns what a tool prints (testdata/tools/README.md).
func recorded(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/tools/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rowTexts returns rows as lines.
func rowTexts(rows []row) (lines []string) {
	for _, r := range rows {
		s := fmt.Sprintf("%d %s %s", r.pid, r.command, r.network)
		if r.dual {
			s += " dual"
		}
		if r.path != "" {
			s += fmt.Sprintf(" %q", r.path)
		} else {
			s += " " + r.local.String()
		}
		if r.remote.IsValid() {
			s += "->" + r.remote.String()
		}
		if r.user != "" {
			s += " " + r.user
		}
		s += " " + r.state
		if r.options.Known {
			s += fmt.Sprintf(" addr=%v port=%v", r.options.ReuseAddr, r.options.ReusePort)
		}
		lines = append(lines, strings.TrimSpace(s))
	}
	return lines
}

func wantRows(t testing.TB, rows []row, want ...string) {
	t.Helper()
	if got := strings.Join(rowTexts(rows), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("rows\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestParseAddrPort(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, separator string
		version         int
		want            string // "" for none
	}{
		{"127.0.0.1:80", ":", 4, "127.0.0.1:80"},
		{"127.0.0.1.80", ".", 4, "127.0.0.1:80"},
		{"[::1]:80", ":", 6, "[::1]:80"},
		{"::1:80", ":", 6, "[::1]:80"},
		{"::1.80", ".", 6, "[::1]:80"},
		{"*:80", ":", 6, "[::]:80"},
		{"*.*", ".", 4, "0.0.0.0:0"},
		{"[::ffff:127.0.0.1]:80", ":", 6, "127.0.0.1:80"},
		{"[fe80:4::1]:80", ":", 6, "[fe80::1]:80"},
		{"[::1:80", ":", 6, ""},
		{"::1]:80", ":", 6, ""},
		{"*:http", ":", 4, ""},
		{"*:65536", ":", 4, ""},
		{"*:-1", ":", 4, ""},
		{"localhost:80", ":", 4, ""},
		{"80", ":", 4, ""},
		{"", ":", 4, ""},
	} {
		got, ok := parseAddrPort(test.text, test.separator, test.version)
		if ok != (test.want != "") || ok && got.String() != test.want {
			t.Errorf("%q: %v, %v; want %q", test.text, got, ok, test.want)
		}
	}
}
