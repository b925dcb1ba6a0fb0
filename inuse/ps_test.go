//go:build unix

package inuse

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestParsePs(t *testing.T) {
	t.Parallel()
	got := parsePs([]byte(strings.Join([]string{
		"    1     0     1     0 Ss   ??       10-01:02:03 /sbin/launchd",
		"  911   740   911   501 S+   ttys003     20:00 node   server.js",
		"  912   740   912   501 T    pts/3       10:00 python3 app.py",
		"  913   740   912   501 S    ?           10:00 ",
		"  914   740   912   501 S    -           x:00 a",
		"  x     740   912   501 S    ?           10:00 broken",
		"  915",
		"",
	}, "\n")))
	want := map[int]psLine{
		1:   {1, 0, 1, 0, "Ss", "", 10*24*time.Hour + 1*time.Hour + 2*time.Minute + 3*time.Second, "/sbin/launchd"},
		911: {911, 740, 911, 501, "S+", "ttys003", 20 * time.Minute, "node   server.js"},
		912: {912, 740, 912, 501, "T", "pts/3", 10 * time.Minute, "python3 app.py"},
		913: {913, 740, 912, 501, "S", "", 10 * time.Minute, ""},
		914: {914, 740, 912, 501, "S", "", -1, "a"},
	}
	for pid, line := range want {
		if got[pid] != line {
			t.Errorf("%d: %+v, want %+v", pid, got[pid], line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d processes, want %d: %+v", len(got), len(want), got)
	}
}

func TestParseElapsed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"00:07": 7 * time.Second, "1:00:00": time.Hour, "2-03:04:05": 51*time.Hour + 4*time.Minute + 5*time.Second,
		"7": -1, "": -1, "1:2:3:4": -1, "1-2:3": -1, "-1:00": -1, "00:61": -1, "-": -1,
	} {
		if got := parseElapsed(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestPsArguments(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args, command string
		argv          []string
		script        string
	}{
		{"node server.js", "node", []string{"node", "server.js"}, ""},
		{"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome --x", "Google Chrome", []string{"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "--x"}, ""},
		{"Web Server -d", "Web Server", []string{"Web Server", "-d"}, ""},
		{"a b c", "b x", []string{"a", "b", "c"}, ""},
		{"/bin/bash ./run.sh x", "bash", []string{"/bin/bash", "./run.sh", "x"}, "bash run.sh"},
		{"-bash", "bash", []string{"-bash"}, ""},
		{"bash -c true", "bash", []string{"bash", "-c", "true"}, ""},
		{"", "x", nil, ""},
	} {
		line := psLine{args: test.args}
		if got := line.argv(test.command); !slices.Equal(got, test.argv) {
			t.Errorf("%q: %q, want %q", test.args, got, test.argv)
		}
		if got := line.script(); got != test.script {
			t.Errorf("%q: script %q, want %q", test.args, got, test.script)
		}
	}
}

func TestManagers(t *testing.T) {
	t.Parallel()
	labels := parseLaunchctl([]byte(recorded(t, "launchctl-macos.txt")))
	for pid, want := range map[int]unit{
		612: {user: -1}, 813: {name: "nginx", user: -1, kind: brewService}, 814: {name: "org.example.agent", user: -1, kind: launchdUserJob},
		2210: {user: -1}, 1: {user: -1},
	} {
		if got := launchdUnit(labels[pid], false); got != want {
			t.Errorf("launchd, %d: %+v, want %+v", pid, got, want)
		}
	}
	if got := launchdUnit(labels[814], true).kind; got != launchdJob {
		t.Errorf("of the system: %q", got)
	}
	root := fstest.MapFS{
		"usr/local/etc/rc.d/nginx": {}, "var/run/nginx.pid": {Data: []byte("812\n")},
		"etc/rc.d/syslogd": {}, "var/run/syslogd/syslogd.pid": {Data: []byte("500")},
		"var/run/app.pid": {Data: []byte("7")}, "etc/rc.d/broken": {}, "var/run/broken.pid": {Data: []byte("x")},
	}
	for _, test := range []struct {
		command string
		pid     int
		want    string
	}{
		{"nginx", 812, "nginx"}, {"nginx", 813, ""}, {"syslogd", 500, "syslogd"}, {"app", 7, ""}, {"broken", 0, ""}, {"../x", 7, ""}, {"", 0, ""},
	} {
		if got := rcUnit(root, test.command, test.pid).name; got != test.want {
			t.Errorf("rc.d, %s: %q, want %q", test.command, got, test.want)
		}
	}
	for kind, kinds := range managers {
		for _, k := range kinds {
			if cures[k].text == "" {
				t.Errorf("%s: no remedy %s", kind, k)
			}
		}
	}
}
