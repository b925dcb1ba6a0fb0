package inuse

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var listNow = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// listed returns a socket for a list.
func listed(network, local, user string, processes ...Process) Holder {
	h := Holder{Network: network, Local: netip.MustParseAddrPort(local), State: "LISTEN", Count: 1, User: user, UID: 33, Processes: processes, unit: unit{user: -1}}
	if user == "root" {
		h.UID = 0
	}
	for i := range h.Processes {
		h.Processes[i].uid, h.Processes[i].Inherited = h.UID, i > 0
	}
	return h
}

// running returns a process that began so long ago, in a cgroup.
func running(pid int, name, cgroup string, since time.Duration) Process {
	command, _, _ := strings.Cut(name, " ")
	return Process{PID: pid, Name: name, Command: command, Started: listNow.Add(-since), State: "running", Parent: 1, unit: unitOf(cgroup)}
}

func workersOf(pid, n int, name, cgroup string) (ps []Process) {
	for i := range n {
		ps = append(ps, running(pid+i, name, cgroup, 48*time.Hour-time.Duration(i)))
	}
	return ps
}

// listSituation is what listens on the machine of the design's table.
func listSituation() []Holder {
	const day = 24 * time.Hour
	container := "/system.slice/docker-4f2a9c1b2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b.scope"
	proxy := running(24945, "docker-proxy", "/system.slice/docker.service", 2*day)
	proxy.unit = unitOf(container)
	vxlan := listed("udp4", "0.0.0.0:4789", "root")
	vxlan.link, vxlan.kind, vxlan.State = "vx0", "vxlan", "UNCONN"
	nginx := workersOf(812, 5, "nginx", "/system.slice/nginx.service")
	return []Holder{
		vxlan,
		listed("udp4", "127.0.0.53:53", "systemd-resolve", running(310, "systemd-resolved", "/system.slice/systemd-resolved.service", 2*day)),
		listed("tcp4", "0.0.0.0:8080", "root", proxy),
		listed("tcp4", "127.0.0.1:5432", "postgres"),
		listed("tcp4", "127.0.0.1:3000", "alice", running(3120, "node server.js", "/user.slice/user-1000.slice/session-1.scope", 5*time.Minute)),
		listed("tcp6", "[::]:80", "root", nginx...),
		listed("tcp4", "0.0.0.0:80", "root", nginx...),
		listed("tcp6", "[::]:22", "root", running(1, "systemd", "/system.slice/ssh.socket", 3*day), running(901, "sshd", "/system.slice/ssh.service", 2*day)),
	}
}

func TestListeningText(t *testing.T) {
	root := asker{root: true, name: "root", docker: true}
	alice := asker{uid: 1000, name: "alice"}
	for _, test := range []struct {
		what    string
		asker   asker
		sight   sight
		holders []Holder
		want    string
	}{
		{"as root", root, sight{}, listSituation(), `
PORT     ADDRESS    WHO                 PID   USER      SINCE TO STOP IT
tcp 22   all        sshd                901   root      2 d   systemctl stop ssh.socket ssh.service
tcp 80   all        nginx +4            812   root      2 d   systemctl stop nginx
tcp 3000 127.0.0.1  node server.js      3120  alice     5 min kill 3120
tcp 5432 127.0.0.1  ?                   ?     postgres  ?     whyinuse 5432
tcp 8080 all IPv4   Docker container    24945 root      2 d   docker stop 4f2a9c1b2d3e
udp 53   127.0.0.53 systemd-resolved    310   systemd-r 2 d   systemctl stop systemd-resolved
udp 4789 all IPv4   kernel: vx0 (vxlan) -     root      -     ip link set vx0 down
Not seen: which processes have 1 of 7; it may be the kernel's own.
`},
		{"as alice", alice, sight{others: true}, listSituation()[3:5], `
PORT     ADDRESS   WHO            PID  USER     SINCE TO STOP IT
tcp 3000 127.0.0.1 node server.js 3120 alice    5 min sudo kill 3120
tcp 5432 127.0.0.1 ?              ?    postgres ?     sudo whyinuse 5432
Not seen: which processes have 1 of 2, as they are other users'. To see them: sudo whyinuse
`},
		{"a unit is known, its process is not", alice, sight{others: true}, []Holder{
			func() Holder {
				h := listed("tcp4", "127.0.0.1:5432", "postgres")
				h.unit = unitOf("/system.slice/postgresql.service")
				return h
			}()}, `
PORT     ADDRESS   WHO                PID USER     SINCE TO STOP IT
tcp 5432 127.0.0.1 postgresql.service ?   postgres ?     sudo systemctl stop postgresql
Not seen: which processes have 1 of 1, as they are other users'. To see them: sudo whyinuse
`},
		{"one program at several addresses", root, sight{}, []Holder{
			listed("udp4", "127.0.0.1:123", "root", running(7, "ntpd", "", time.Hour)),
			listed("udp4", "192.0.2.7:123", "root", running(7, "ntpd", "", time.Hour)),
			listed("udp6", "[fe80::1%v0]:123", "root", running(7, "ntpd", "", time.Hour)),
			listed("udp4", "192.0.2.7:124", "root", running(8, "other", "", time.Second)),
		}, `
PORT    ADDRESS      WHO   PID USER SINCE TO STOP IT
udp 123 127.0.0.1 +2 ntpd  7   root 1 h   kill 7
udp 124 192.0.2.7    other 8   root 1 s   kill 8
`},
		{"two programs at one port", root, sight{}, []Holder{
			listed("tcp4", "127.0.0.1:80", "root", running(7, "a", "", time.Hour)),
			listed("tcp4", "127.0.0.2:80", "root", running(8, "b", "", time.Hour)),
		}, `
PORT   ADDRESS   WHO PID USER SINCE TO STOP IT
tcp 80 127.0.0.1 a   7   root 1 h   kill 7
tcp 80 127.0.0.2 b   8   root 1 h   kill 8
`},
		{"what is cut, and what is not", root, sight{}, []Holder{
			listed("tcp6", "[2001:db8::1234:5678:9abc:def0]:65535", "a-very-long-user", running(4194304, "python3 a-very-long-name.py", "/system.slice/a-very-long-name-of-a-service.service", 400*24*time.Hour)),
		}, `
PORT      ADDRESS                       WHO                 PID     USER      SINCE TO STOP IT
tcp 65535 2001:db8::1234:5678:9abc:def0 python3 a-very-long 4194304 a-very-lo 400 d systemctl stop a-very-long-name-of-a-service
`},
		{"names with control characters", root, sight{}, []Holder{
			listed("tcp4", "127.0.0.1:80", "root\x1b[2J", running(7, "a\n\x1b[2J", "", time.Hour)),
		}, `
PORT   ADDRESS   WHO    PID USER     SINCE TO STOP IT
tcp 80 127.0.0.1 a??[2J 7   root?[2J 1 h   kill 7
`},
		{"nothing", root, sight{}, nil, "\nNothing listens on this machine.\n"},
	} {
		l := newListeners(test.holders, test.asker, test.sight, listNow)
		if got := "\n" + l.Text(); got != test.want {
			t.Errorf("%s:%swant:%s", test.what, got, test.want)
		}
		if len(l.Sockets) != len(test.holders) {
			t.Errorf("%s: %d sockets", test.what, len(l.Sockets))
		}
		for _, s := range l.Sockets {
			if s.Remedy.Kind == "" || s.Name == "" {
				t.Errorf("%s: %+v", test.what, s)
			}
		}
	}
}

// Why something was not seen.
func TestListeningUnseen(t *testing.T) {
	hidden := listed("tcp4", "127.0.0.1:5432", "postgres")
	for _, test := range []struct {
		asker asker
		sight sight
		want  string
	}{
		{asker{uid: 1000}, sight{others: true}, "which processes have 1 of 1, as they are other users'"},
		{asker{uid: 1000}, sight{hidden: true}, "which processes have 1 of 1, as /proc hides those of other users (hidepid)"},
		{asker{root: true}, sight{late: true}, "which processes have 1 of 1, as time was up"},
		{asker{root: true, blind: true}, sight{}, "which processes have 1 of 1, as /proc cannot be read"},
		{asker{root: true, container: true}, sight{}, "which processes have 1 of 1, as they are outside this container"},
		{asker{root: true}, sight{}, "which processes have 1 of 1; it may be the kernel's own"},
	} {
		if l := newListeners([]Holder{hidden}, test.asker, test.sight, listNow); strings.Join(l.Unseen, "; ") != test.want {
			t.Errorf("%+v: %q, want %q", test.asker, l.Unseen, test.want)
		}
	}
}
