//go:build unix

package inuse

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// checked returns the attempt as Check makes it.
func (a attempt) checked() attempt { a.check = true; return a }

// judged returns what a survey says.
func judged(t *testing.T, a attempt, s survey, me asker) *finding {
	t.Helper()
	if s.process == nil {
		s.process = census{now: goldenNow}.process
	}
	f := a.judge(me, s)
	if f != nil {
		f.now = goldenNow
	}
	return f
}

func rowAt(network, local, state string, pid int) row {
	r := row{network: network, local: netip.MustParseAddrPort(local), state: state, pid: pid, command: "app", uid: alice, user: "alice"}
	if pid == 0 {
		r.command, r.uid, r.user = "", -1, ""
	}
	return r
}

func (r row) to(remote string) row   { r.remote = netip.MustParseAddrPort(remote); return r }
func (r row) below(parent int) row   { r.parent = parent; return r }
func (r row) same(socket string) row { r.socket = socket; return r }

// What is in the way of what, and as which cause.
func TestJudge(t *testing.T) {
	t.Parallel()
	const self = 4242
	listener := func(local string) row {
		network := "tcp4"
		if strings.HasPrefix(local, "[") {
			network = "tcp6"
		}
		return rowAt(network, local, "LISTEN", 7)
	}
	for _, test := range []struct {
		name    string
		asked   attempt
		survey  survey
		cause   Cause // "" if nothing is in the way
		holders string
	}{
		{"the same", asked("tcp", "127.0.0.1:80"), survey{rows: []row{listener("127.0.0.1:80")}}, CauseListener, "127.0.0.1:80 7"},
		{"another port", asked("tcp", "127.0.0.1:81"), survey{rows: []row{listener("127.0.0.1:80")}}, "", ""},
		{"another address", asked("tcp", "127.0.0.2:80"), survey{rows: []row{listener("127.0.0.1:80")}}, "", ""},
		{"another protocol", asked("udp", "127.0.0.1:80"), survey{rows: []row{listener("127.0.0.1:80")}}, "", ""},
		{"all addresses", asked("tcp", ":80"), survey{rows: []row{listener("0.0.0.0:80")}}, CauseListener, "0.0.0.0:80 7"},
		{"all addresses of both", asked("tcp", ":80"), survey{rows: []row{listener("[::]:80")}}, CauseListener, "[::]:80 7"},
		{"another IP version", asked("tcp6", ":80"), survey{rows: []row{listener("0.0.0.0:80")}}, "", ""},
		{"one of all", asked("tcp", ":80"), survey{rows: []row{listener("192.0.2.7:80")}}, CauseOneAddress, "192.0.2.7:80 7"},
		{"all over one", asked("tcp", "192.0.2.7:80"), survey{rows: []row{listener("0.0.0.0:80")}}, CauseListener, "0.0.0.0:80 7"},
		{"[::] over an address of IPv4", asked("tcp", "192.0.2.7:80"), survey{rows: []row{listener("[::]:80")}}, CauseDualStack, "[::]:80 7"},
		{"0.0.0.0 below an address of IPv6", asked("tcp", "[2001:db8::1]:80"), survey{rows: []row{listener("0.0.0.0:80")}}, "", ""},
		{"[::] and IPv4", asked("tcp4", ":80"), survey{rows: []row{listener("[::]:80")}}, CauseDualStack, "[::]:80 7"},
		{"the very address before all", asked("tcp", "127.0.0.1:80"), survey{rows: []row{listener("0.0.0.0:80"), listener("127.0.0.1:80")}}, CauseListener, "127.0.0.1:80 7"},
		{"a bind without options meets both", asked("tcp", "127.0.0.1:80").checked(), survey{rows: []row{listener("0.0.0.0:80"), listener("127.0.0.1:80")}}, CauseListener, "127.0.0.1:80 7, 0.0.0.0:80 7"},
		{"not on Windows", asked("tcp", "127.0.0.1:80").checked(), survey{alone: true, rows: []row{listener("0.0.0.0:80"), listener("127.0.0.1:80")}}, CauseListener, "127.0.0.1:80 7"},
		{"a zone", asked("tcp", "[fe80::1%en0]:80"), survey{rows: []row{listener("[fe80::1%en0]:80")}}, CauseListener, "[fe80::1%en0]:80 7"},
		{"another zone", asked("tcp", "[fe80::1%en1]:80"), survey{rows: []row{listener("[fe80::1%en0]:80")}}, "", ""},
		{"a zone that is not told", asked("tcp", "[fe80::1%en1]:80"), survey{rows: []row{listener("[fe80::1]:80")}}, CauseListener, "[fe80::1]:80 7"},

		{"itself", asked("tcp", ":80"), survey{self: self, rows: []row{rowAt("tcp4", "0.0.0.0:80", "LISTEN", self)}}, CauseSelf, "0.0.0.0:80 4242"},
		{"itself, checked", asked("tcp", ":80").checked(), survey{self: self, rows: []row{rowAt("tcp4", "0.0.0.0:80", "LISTEN", self)}}, CauseListener, "0.0.0.0:80 4242"},
		{"bound", asked("tcp", ":80"), survey{rows: []row{rowAt("tcp4", "0.0.0.0:80", "BOUND", 7)}}, CauseBound, "0.0.0.0:80 7"},
		{"inherited", asked("tcp", ":80"), survey{rows: []row{listener("0.0.0.0:80").same("d1"), rowAt("tcp4", "0.0.0.0:80", "LISTEN", 8).same("d1")}}, CauseInherited, "0.0.0.0:80 7 8"},
		{"by descent", asked("tcp", ":80"), survey{rows: []row{rowAt("tcp4", "0.0.0.0:80", "LISTEN", 8).below(7), listener("0.0.0.0:80")}}, CauseInherited, "0.0.0.0:80 7 8"},
		{"two sockets", asked("tcp", ":80"), survey{rows: []row{listener("0.0.0.0:80").same("d1"), rowAt("tcp4", "0.0.0.0:80", "LISTEN", 8).same("d2")}}, CauseListener, "0.0.0.0:80 7, 0.0.0.0:80 8"},
		{"two descriptors", asked("tcp", ":80"), survey{rows: []row{listener("0.0.0.0:80").same("d1"), listener("0.0.0.0:80").same("d1")}}, CauseListener, "0.0.0.0:80 7"},
		{"UDP", asked("udp", ":53"), survey{rows: []row{rowAt("udp4", "0.0.0.0:53", "", 7)}}, CauseListener, "0.0.0.0:53 7"},
		{"a listener before its connections", asked("tcp", ":80"), survey{rows: []row{rowAt("tcp4", "127.0.0.1:80", "ESTABLISHED", 9).to("127.0.0.1:4711"), listener("0.0.0.0:80")}}, CauseListener, "0.0.0.0:80 7"},

		{"connections", asked("tcp", ":80"), survey{rows: []row{rowAt("tcp4", "127.0.0.1:80", "ESTABLISHED", 7).to("127.0.0.1:4711"), rowAt("tcp4", "127.0.0.1:80", "ESTABLISHED", 7).to("127.0.0.1:4712")}}, CauseConnection, "127.0.0.1:80 7 of 2"},
		{"their other end", asked("tcp", ":4711"), survey{rows: []row{rowAt("tcp4", "127.0.0.1:80", "ESTABLISHED", 7).to("127.0.0.1:4711")}}, "", ""},
		{"a client", asked("tcp", ":50000"), survey{ephemeral: ianaEphemeral, rows: []row{rowAt("tcp4", "127.0.0.1:50000", "ESTABLISHED", 7).to("127.0.0.1:80")}}, CauseOutgoing, "127.0.0.1:50000 7"},
		{"left over", asked("tcp", ":80"), survey{overTime: true, bare: []row{rowAt("tcp4", "127.0.0.1:80", "TIME_WAIT", 0).to("127.0.0.1:4711")}}, CauseLeftover, "127.0.0.1:80"},
		{"left over, on Windows", asked("tcp", ":80"), survey{rows: []row{rowAt("tcp4", "127.0.0.1:80", "TIME_WAIT", 0).to("127.0.0.1:4711")}}, "", ""},
		{"another user's", asked("tcp", ":80"), survey{blind: true, bare: []row{rowAt("tcp4", "0.0.0.0:80", "LISTEN", 0)}}, CauseHidden, "0.0.0.0:80"},
		{"another user's connection", asked("tcp", ":80"), survey{blind: true, overTime: true, bare: []row{rowAt("tcp4", "127.0.0.1:80", "TIME_WAIT", 0).to("127.0.0.1:4711"), rowAt("tcp4", "127.0.0.1:80", "ESTABLISHED", 0).to("127.0.0.1:4712")}}, CauseHidden, "127.0.0.1:80"},
		{"nobody's", asked("tcp", ":80"), survey{rows: []row{rowAt("tcp4", "0.0.0.0:80", "LISTEN", 0)}}, CauseNoProcess, "0.0.0.0:80"},
		{"nothing", asked("tcp", ":80"), survey{}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := judged(t, test.asked, test.survey, inApp)
			if f == nil || test.cause == "" {
				if f != nil || test.cause != "" {
					t.Fatalf("%+v, want %q", f, test.cause)
				}
				return
			}
			var got []string
			for _, h := range f.holders {
				s := h.Local.String()
				for _, p := range h.Processes {
					s += fmt.Sprint(" ", p.PID)
				}
				if h.Count > 1 {
					s += fmt.Sprint(" of ", h.Count)
				}
				got = append(got, s)
			}
			if f.cause != test.cause || strings.Join(got, ", ") != test.holders {
				t.Errorf("%s: %q, want %s: %q", f.cause, got, test.cause, test.holders)
			}
			checkShape(t, f.error())
		})
	}
}

// What is printed on other systems.
func TestOtherSystemsTexts(t *testing.T) {
	t.Parallel()
	lines := parsePs([]byte(strings.Join([]string{
		"    1     0     1     0 Ss   ??       10-01:02:03 /sbin/launchd",
		"  612     1   612   501 S    ??       2-00:00:00 /System/Library/CoreServices/ControlCenter.app/Contents/MacOS/ControlCenter",
		"  813     1   813   501 S    ??       1-00:00:00 nginx: master process /opt/homebrew/opt/nginx/bin/nginx -g daemon off;",
		"  815   813   813   501 S    ??       1-00:00:00 nginx: worker process",
		"  911   740   911   501 S+   ttys003  20:00 node server.js --token=secret",
		"  912   740   912   501 T    ttys003  10:00 python3 app.py",
		"  814     1   814   501 S    ??       1:00:00 /usr/local/bin/agent",
		" 2210     1  2210   501 S    ??       05:00 /Applications/Google Chrome.app/Contents/MacOS/Google Chrome --remote-debugging-port=9222",
		"  700     1   700    80 Is   -        05:00 httpd",
	}, "\n")))
	mac := census{system: "darwin", lines: lines, labels: parseLaunchctl([]byte(recorded(t, "launchctl-macos.txt"))), now: goldenNow, asker: asker{uid: 501, name: "alice"}}
	bsd := census{system: "freebsd", lines: lines, now: goldenNow, root: fstest.MapFS{"usr/local/etc/rc.d/httpd": {}, "var/run/httpd.pid": {Data: []byte("700\n")}}}
	user := mac.asker
	on := func(c census, port uint16) func(row) Process { c.port = port; return c.process }
	has := func(command string, r row) row { r.command, r.uid = command, 501; return r }
	tasks := func(p Process) func(row) Process {
		return func(r row) Process {
			p.PID, p.Command, p.State, p.uid, p.Started = r.pid, p.Name, "running", -1, goldenNow.Add(-5*time.Minute)
			return p
		}
	}
	windowsRow := func(r row) row { r.uid, r.user = -1, ""; return r }
	for _, test := range []struct {
		name   string
		asked  attempt
		survey survey
		me     asker
		want   string
	}{
		{"AirPlay", asked("tcp", ":7000"), survey{rows: []row{has("ControlCenter", rowAt("tcp4", "0.0.0.0:7000", "LISTEN", 612))}, process: on(mac, 7000)}, user, `
Port 7000 is in use by ControlCenter.
  ControlCenter (pid 612) listens on 0.0.0.0:7000, user alice, AirPlay Receiver, started 2 days ago
To free it, switch off AirPlay Receiver, in System Settings, General, AirDrop & Handoff.
`},
		{"launchd", asked("tcp", ":22"), survey{rows: []row{{network: "tcp6", local: netip.MustParseAddrPort("[::]:22"), state: "LISTEN", pid: 1, command: "launchd", user: "root"}}, process: on(mac, 22)}, asRoot, `
Port 22 is in use by launchd.
  launchd (pid 1) listens on [::]:22, user root
To free it, switch off what launchd listens for, mostly in System Settings, General, Sharing.
`},
		{"Homebrew", asked("tcp", ":8080"), survey{rows: []row{has("nginx", rowAt("tcp4", "0.0.0.0:8080", "LISTEN", 813).same("d")), has("nginx", rowAt("tcp4", "0.0.0.0:8080", "LISTEN", 815).same("d"))}, process: on(mac, 8080)}, user, `
Port 8080 is in use by nginx.
  nginx (pid 813) listens on 0.0.0.0:8080, user alice, nginx, started 1 day ago
  nginx (pid 815) listens on 0.0.0.0:8080, user alice, nginx, started by pid 813
To free it, stop the service of Homebrew:
    brew services stop nginx
`},
		{"a job of launchd", asked("tcp", ":8080"), survey{rows: []row{has("agent", rowAt("tcp4", "0.0.0.0:8080", "LISTEN", 814))}, process: on(mac, 8080)}, user, `
Port 8080 is in use by agent.
  agent (pid 814) listens on 0.0.0.0:8080, user alice, org.example.agent, started 1 h ago
To free it, stop the job of launchd:
    launchctl bootout gui/501/org.example.agent
`},
		{"an application", asked("tcp", "127.0.0.1:9222"), survey{rows: []row{has("Google Chrome", rowAt("tcp4", "127.0.0.1:9222", "LISTEN", 2210))}, process: on(mac, 9222)}, user, `
Port 9222 on 127.0.0.1 is in use by Google Chrome.
  Google Chrome (pid 2210) listens on 127.0.0.1:9222, user alice, started 5 min ago
To free it, stop the process:
    kill 2210
`},
		{"suspended", asked("tcp", ":5000"), survey{rows: []row{has("python3", rowAt("tcp4", "0.0.0.0:5000", "LISTEN", 912))}, process: on(mac, 5000)}, user, `
Port 5000 is in use by python3 app.py, which is suspended (as by Ctrl-Z).
  python3 app.py (pid 912) listens on 0.0.0.0:5000, user alice, started 10 min ago
To free it, end the process and wake it, as it cannot end while suspended:
    kill 912 && kill -CONT 912
Or type fg in its terminal (ttys003), then Ctrl-C.
`},
		{"another user", asked("tcp", ":80"), survey{blind: true, bare: []row{rowAt("tcp4", "0.0.0.0:80", "LISTEN", 0)}}, user, `
Port 80 is in use by a process of another user.
  a process listens on 0.0.0.0:80
To find out, look as root:
    sudo whyinuse 80
Not seen: which process it is, as it is another user's.
`},
		{"TIME_WAIT", asked("tcp", ":8080").checked(), survey{overTime: true, bare: []row{rowAt("tcp4", "127.0.0.1:8080", "TIME_WAIT", 0).to("127.0.0.1:4711")}}, user, `
Port 8080 is still held by closed connections of a server that has ended.
  1 connection of 127.0.0.1:8080 is in TIME_WAIT
To start now, set SO_REUSEADDR in the server that is refused.
`},
		{"rc.d", asked("tcp", ":80"), survey{rows: []row{{network: "tcp4", local: netip.MustParseAddrPort("0.0.0.0:80"), state: "LISTEN", pid: 700, command: "httpd", uid: -1, user: "www"}}, process: bsd.process}, user, `
Port 80 is in use by httpd.
  httpd (pid 700) listens on 0.0.0.0:80, user www, httpd, started 5 min ago
To free it, stop the service:
    sudo service httpd stop
`},
		{"Windows", asked("tcp", ":3000"), survey{rows: []row{windowsRow(rowAt("tcp4", "0.0.0.0:3000", "LISTEN", 5120))}, process: tasks(Process{Name: "node.exe", unit: unit{user: -1, kind: windowsTask}})}, asker{uid: -1}, `
Port 3000 is in use by node.exe.
  node.exe (pid 5120) listens on 0.0.0.0:3000, started 5 min ago
To free it, stop the process:
    taskkill /PID 5120
Or end it by force, as a program without a window does not obey that:
    taskkill /F /PID 5120
`},
		{"a service of Windows", asked("tcp", ":5432"), survey{rows: []row{windowsRow(rowAt("tcp4", "0.0.0.0:5432", "LISTEN", 5120))}, process: tasks(Process{Name: "pg_ctl.exe", unit: unit{name: "postgresql-x64-17", user: -1, kind: windowsService}})}, asker{uid: -1}, `
Port 5432 is in use by pg_ctl.exe.
  pg_ctl.exe (pid 5120) listens on 0.0.0.0:5432, postgresql-x64-17, started 5 min ago
To free it, stop the service, as administrator:
    net stop postgresql-x64-17
`},
		{"Windows itself", asked("tcp", ":80"), survey{rows: []row{windowsRow(rowAt("tcp6", "[::]:80", "LISTEN", 4))}, process: tasks(Process{Name: "System", unit: unit{user: -1, kind: windowsKernel}})}, asker{uid: -1}, `
Port 80 is in use by System.
  System (pid 4) listens on [::]:80, started 5 min ago
To find out, see what Windows itself listens for:
    netsh http show servicestate
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := judged(t, test.asked, test.survey, test.me)
			if f == nil {
				t.Fatal("nothing is said")
			}
			e := f.error()
			if got := "\n" + e.Text(); got != test.want {
				t.Errorf("prints%swant%s", got, test.want)
			}
			checkShape(t, e)
		})
	}
}

// A port that Windows has set aside, and one that a user of FreeBSD may not have.
func TestNobodyHasIt(t *testing.T) {
	t.Parallel()
	first, last, ok := excludedRange([]byte(recorded(t, "netsh-windows.txt")), 50005)
	if !ok || first != 50000 || last != 50059 {
		t.Fatalf("%d-%d, %v", first, last, ok)
	}
	for _, port := range []uint16{1461, 1562, 5356, 49999, 50060} {
		if first, last, ok := excludedRange([]byte(recorded(t, "netsh-windows.txt")), port); ok {
			t.Errorf("%d is in %d-%d", port, first, last)
		}
	}
	a := asked("tcp", ":50005")
	a.refusal = refusedNotPermitted
	f := a.setAsideFor(first, last)
	if want := `Nobody has port 50005, but Windows has set ports 50000-50059 aside.
To fix it, listen on a port outside of ports 50000-50059.
To find out, see which ports Windows has set aside:
    netsh interface ipv4 show excludedportrange protocol=tcp
`; f.error().Text() != want {
		t.Errorf("prints\n%swant\n%s", f.error().Text(), want)
	}
	a = asked("tcp", ":80")
	f = a.low(asker{uid: 501, name: "alice"}, "freebsd")
	if want := `Nobody has port 80, but user alice may not use ports below 1024.
To fix it, allow all users ports from 80, until the next boot:
    sudo sysctl net.inet.ip.portrange.reservedhigh=79
`; f.error().Text() != want {
		t.Errorf("prints\n%swant\n%s", f.error().Text(), want)
	}
	if f := a.low(asker{uid: 501, name: "alice"}, "openbsd"); strings.Contains(f.error().Text(), "To ") {
		t.Errorf("prints\n%s", f.error().Text())
	}
}
