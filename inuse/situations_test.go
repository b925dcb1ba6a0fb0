package inuse

import "time"

const goldenContainer = "/system.slice/docker-4f2a9c1b2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b.scope"

var (
	asRoot  = asker{root: true, name: "root", docker: true}
	asAlice = asker{uid: alice, name: "alice", docker: true}
	inApp   = asker{uid: alice, name: "alice", program: "app"} // of Explain
)

func service(name string) string { return "/system.slice/" + name + ".service" }

func one(network, local, user string, p ...Process) []Holder {
	return []Holder{socket(network, local, user, p...)}
}

func node() Process { return process(911, "node server.js", 5*time.Minute) }

func (p Process) stopped() Process { p.State, p.terminal = "stopped", "pts/3"; return p }
func (p Process) zombie() Process  { p.State = "zombie"; return p }
func (p Process) traced() Process {
	p.State, p.Tracer, p.tracerName = "traced", 26450, "gdb"
	return p
}
func (p Process) child(of int) Process { p.Parent = of; return p }
func (p Process) supervisedBy(name, command string) Process {
	p.Supervisor, p.supervised = name, command
	return p
}
func (p Process) managedBy(uid int) Process           { p.manager = uid; return p }
func (p Process) script(pid int, name string) Process { p.Parent, p.parentName = pid, name; return p }

func workers(first Process, n int) []Process {
	all := []Process{first}
	for i := range n {
		all = append(all, process(first.PID+1+i, first.Name, time.Hour).child(first.PID))
	}
	return all
}

var (
	avahi    = process(420, "avahi-daemon", 2*day).in(service("avahi-daemon"))
	leftover = []Holder{{Network: "tcp4", Local: at("192.0.2.7:8080"), Remote: at("192.0.2.1:5000"), State: "TIME_WAIT", Count: 7, UID: -1, Expires: 42 * time.Second}}
)

// situations are what is found in those of golden.txt.
var situations = map[string]finding{
	"1": {attempt: asked("tcp", ":80"), cause: CauseListener, asker: asAlice, sight: sight{others: true}, facts: facts{"start": "1024"},
		holders: []Holder{socket("tcp4", "0.0.0.0:80", "root").owned(service("nginx"))}},
	"1b": {attempt: asked("tcp", ":80"), cause: CauseHidden, asker: asAlice, sight: sight{others: true}, facts: facts{"start": "1024"},
		holders: one("tcp4", "0.0.0.0:80", "root")},
	"2": {attempt: asked("tcp", ":6379"), cause: CauseConnection, asker: asRoot, passes: passes{addr: true},
		holders: []Holder{socket("tcp4", "127.0.0.1:6379", "redis", process(411, "sleep 1000", 3*time.Hour)).to("127.0.0.1:40022", "ESTABLISHED")}},
	"3": {attempt: asked("tcp", ":15672"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:15672", "root", process(24945, "docker-proxy", 2*day).in(goldenContainer))},
	"3b": {attempt: asked("tcp", ":15672"), cause: CauseListener, asker: asAlice,
		holders: one("tcp4", "0.0.0.0:15672", "root", process(24945, "docker-proxy", 2*day).in(service("docker")))},
	"4": {attempt: asked("tcp", ":6720"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:6720", "root", process(1, "systemd", 2*day))},
	"4b": {attempt: asked("tcp", ":22"), cause: CauseInherited, asker: asRoot,
		holders: one("tcp6", "[::]:22", "root", process(1, "systemd", 2*day).in("/system.slice/ssh.socket"), process(901, "sshd", 2*day).in(service("ssh")))},
	"5": {attempt: asked("tcp", ":6600"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:6600", "mpd", process(5120, "systemd-socket-activate", 5*time.Minute))},
	"6": {attempt: asked("tcp", ":2020"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:2020", "root", process(733, "sleep 1000", 3*time.Hour))},
	"7": {attempt: asked("tcp", ":2020"), cause: CauseInherited, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:2020", "root", process(700, "rinetd", 3*time.Hour), process(733, "sh on-connect.sh", time.Hour).child(700))},
	"7b": {attempt: asked("tcp", ":8080"), cause: CauseInherited, asker: asRoot,
		holders: []Holder{socket("tcp4", "0.0.0.0:8080", "www-data", workers(process(812, "gunicorn app:web", 2*day), 249)...).groupOf(812)}},
	"8": {attempt: asked("udp", ":4789"), cause: CauseKernel, asker: asRoot,
		holders: []Holder{{Network: "udp4", Local: at("0.0.0.0:4789"), State: "UNCONN", Count: 1, link: "vx0", kind: "vxlan"}}},
	"8b": {attempt: asked("tcp", ":2049"), cause: CauseNoProcess, asker: asRoot, holders: one("tcp4", "0.0.0.0:2049", "root")},
	"9": {attempt: asked("unix", "/run/nginx.sock"), cause: CauseStale, asker: asRoot,
		file: "srwxr-xr-x, user root, created 2 days ago"},
	"10": {attempt: asked("unix", "/tmp/app.sock"), cause: CauseStalePerhaps, asker: asAlice, file: "srwxr-xr-x, user root, created 2 days ago",
		unseen: []string{"other network namespaces, such as those of containers"}, hints: []string{"only root and the owner may remove it: /tmp is sticky"}},
	"11": {attempt: asked("unix", "/var/run/docker.sock"), cause: CauseNotSocket, asker: asRoot, facts: facts{"what": "a directory", "empty": ""},
		file: "drwxr-xr-x, user root, created 2 days ago", why: "docker run -v makes such a directory if the path does not exist when it runs."},
	"12":  {attempt: asked("unix", "/home/alice/x/app.sock"), cause: CausePathTooLong, asker: asRoot, facts: facts{"n": "141", "max": "107"}},
	"12b": {attempt: asked("unix", "/run/app/app.sock"), cause: CauseNoDirectory, asker: asRoot},
	"12c": {attempt: asked("unix", "/run/app/app.sock"), cause: CauseDirectoryDenied, asker: asAlice, file: "drwxr-xr-x /run/app, user root",
		facts: facts{"mode": "root, rwxr-xr-x", "owner": "root"}},
	"13": {attempt: asked("tcp", "[fd00::5]:8080"), cause: CauseTentative, asker: asRoot, facts: facts{"if": "v0", "seconds": "2"}},
	"14": {attempt: asked("tcp", "[fd00::5]:8080"), cause: CauseNoLink, asker: asRoot,
		facts: facts{"if": "v0", "any": "[::]", "key": "net.ipv6.ip_nonlocal_bind"}, why: "the check for duplicate addresses does not end before v0 has a link."},
	"15": {attempt: asked("tcp", "[fd00::5]:8080"), cause: CauseDuplicate, asker: asRoot, facts: facts{"if": "v0", "address": "fd00::7"}},
	"16": {attempt: asked("tcp", "[fe80::1]:8080"), cause: CauseNoZone, asker: asRoot, facts: facts{"if": "v0", "address": "[fe80::1%v0]:8080"}},
	"17": {attempt: asked("tcp", "[fe80::1%eth9]:8080"), cause: CauseWrongZone, asker: asRoot,
		facts: facts{"zone": "there is no interface eth9", "address": "[fe80::1%v0]:8080"}},
	"17b": {attempt: asked("tcp", "[fe80::1%v1]:8080"), cause: CauseWrongZone, asker: asRoot,
		facts: facts{"zone": "v0 has that address, and v1 has not", "address": "[fe80::1%v0]:8080"}},
	"18": {attempt: asked("tcp", "10.9.9.9:443"), cause: CauseNotLocal, asker: asRoot,
		facts: facts{"any": "0.0.0.0", "key": "net.ipv4.ip_nonlocal_bind"}, hints: []string{"this host has 127.0.0.1 and 192.0.2.7"}},
	"19": {attempt: asked("tcp", "[::1]:8080"), cause: CauseIPv6Off, asker: asRoot, facts: facts{"if": "lo", "address": "127.0.0.1"}},
	"20": {attempt: asked("tcp", ":80"), cause: CausePrivileged, asker: asAlice, facts: facts{"start": "1024"},
		hints: []string{"in a systemd unit: AmbientCapabilities=CAP_NET_BIND_SERVICE"}},
	"21": {attempt: asked("tcp", ":80"), cause: CausePrivileged, asker: asAlice, facts: facts{"start": "1024", "nosuid": "/srv"},
		why: "setcap has no effect on /srv, which is mounted nosuid."},
	"22": {attempt: asked("tcp", ":80"), cause: CausePrivileged, asker: asAlice, facts: facts{"start": "1024", "userns": "", "me": "root of this container"},
		hints: []string{"do it on the host, where this root is user alice"}},
	"23": {attempt: asked("tcp", ":40001"), cause: CauseOutgoing, asker: asRoot, facts: facts{"reserved": "40001", "low": "32768", "high": "60999"},
		holders: []Holder{socket("tcp4", "10.0.0.5:40001", "app", process(2210, "java -jar app.jar", 2*day)).to("10.0.0.9:5432", "ESTABLISHED")}},
	"23b": {attempt: asked("tcp", ":40001"), cause: CauseLeftover, asker: asRoot, facts: facts{"reserved": "40001", "low": "32768", "high": "60999"},
		holders: []Holder{{Network: "tcp4", Local: at("10.0.0.5:40001"), Remote: at("10.0.0.9:5432"), State: "TIME_WAIT", Count: 1, UID: -1, Expires: 42 * time.Second, client: true}}},
	"24": {attempt: asked("tcp", ":40001"), cause: CauseOutgoing, asker: asRoot, facts: facts{"reserved": "40001"},
		holders: []Holder{socket("tcp4", "10.0.0.5:40001", "app", process(2290, "curl", 4*time.Second)).to("192.0.2.1:80", "SYN_SENT")}},
	"25": {attempt: asked("tcp", ":875"), cause: CauseNoProcess, asker: asRoot,
		holders: []Holder{socket("tcp4", "10.0.0.5:875", "root").to("10.0.0.9:2049", "ESTABLISHED")}},
	"26": {attempt: asked("tcp", ":0"), cause: CauseExhausted, asker: asRoot, facts: facts{"n": "28232", "range": "32768-60999", "to": ""},
		hints: []string{"most are held by java -jar app.jar (pid 2210): 28101"}},
	"27": {attempt: asked("udp", ":53"), cause: CauseOneAddress, asker: asRoot, facts: facts{"address": "192.0.2.7"},
		holders: []Holder{socket("udp4", "127.0.0.53:53", "systemd-resolve", process(310, "systemd-resolved", 2*day).in(service("systemd-resolved"))).on("lo")}},
	"28": {attempt: asked("udp", ":5353"), cause: CauseListener, asker: asRoot, holders: one("udp4", "0.0.0.0:5353", "avahi", avahi)},
	"29": {attempt: asked("udp", ":5353"), cause: CauseListener, asker: asRoot,
		holders: []Holder{socket("udp4", "0.0.0.0:5353", "avahi", avahi).options(Options{Known: true, ReuseAddr: true})}},
	"30": {attempt: asked("tcp", ":3000"), cause: CauseSelf, asker: inApp, facts: facts{"self": "[::]:3000, which this process has already, takes IPv4 as well"},
		holders: one("tcp6", "[::]:3000", "alice", process(15632, "app", 5*time.Minute))},
	"30b": {attempt: asked("tcp", ":3000"), cause: CauseFree, asker: asRoot},
	"30c": {attempt: asked("tcp", ":3000"), cause: CauseSelf, asker: inApp, holders: one("tcp4", "0.0.0.0:3000", "alice", process(15632, "app", 5*time.Minute))},
	"31": {attempt: asked("tcp", "127.0.0.1:8005"), cause: CauseListener, asker: asRoot,
		holders: one("tcp6", "127.0.0.1:8005", "tomcat", process(20544, "java -jar tomcat.jar", 2*day).in(service("tomcat10")))},
	"31b": {attempt: asked("tcp", "0.0.0.0:8080"), cause: CauseDualStack, asker: asRoot, holders: one("tcp6", "[::]:8080", "alice", node())},
	"32": {attempt: named("localhost", asked("tcp", "[::1]:5173")), cause: CauseListener, asker: asRoot,
		holders: one("tcp6", "[::1]:5173", "alice", process(3120, "node vite.js", 20*time.Minute)),
		hints:   []string{"127.0.0.1:5173 is free: localhost has two addresses"}},
	"33":  {attempt: asked("tcp", ":5000"), cause: CauseListener, asker: asRoot, holders: one("tcp4", "0.0.0.0:5000", "alice", process(26439, "python3 app.py", 10*time.Minute).stopped())},
	"33b": {attempt: asked("tcp", ":5000"), cause: CauseListener, asker: asRoot, holders: one("tcp4", "0.0.0.0:5000", "alice", process(26441, "server", 10*time.Minute).traced())},
	"34":  {attempt: asked("tcp", ":7001"), cause: CauseListener, asker: asRoot, holders: one("tcp4", "0.0.0.0:7001", "root", process(9117, "agent", 2*day).zombie())},
	"35":  {attempt: asked("tcp", ":9000"), cause: CauseListener, asker: asRoot, holders: one("tcp4", "0.0.0.0:9000", "app", process(4410, "java -jar netty.jar", time.Hour))},
	"36":  {attempt: asked("tcp", ":8080"), cause: CauseLeftover, asker: asRoot, holders: leftover},
	"36b": {attempt: asked("tcp", ":8080"), cause: CauseLeftover, asker: asRoot, holders: leftover, passes: passes{addr: true}},
	"37":  {attempt: asked("tcp", ":8443"), cause: CauseForbidden, asker: asAlice, facts: facts{"selinux": ""}},
	"37b": {attempt: asked("tcp", ":8443"), cause: CauseForbidden, asker: asAlice,
		hints: []string{"it can be AppArmor, Landlock, systemd (SocketBindDeny=) or a BPF program"}},
	"38": {attempt: asked("tcp", ":5000"), cause: CauseHidden, asker: asker{root: true, name: "root", container: true},
		holders: []Holder{socket("tcp4", "0.0.0.0:5000", "root").owned(service("registry"))}},
	"38b": {attempt: asked("tcp", ":5000"), cause: CauseHidden, asker: asker{root: true, name: "root", blind: true},
		holders: one("tcp4", "0.0.0.0:5000", "root")},
	"39": {attempt: asked("tcp", ":4433"), cause: CauseListener, asker: asAlice, sight: sight{others: true},
		holders: []Holder{socket("tcp4", "0.0.0.0:4433", "haproxy").owned(service("haproxy"))}},
	"39c": {attempt: asked("tcp", ":4433"), cause: CauseOtherUser, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:4433", "haproxy", process(640, "haproxy", 2*day).in(service("haproxy")))},
	"39b": {attempt: asked("tcp", ":9999"), cause: CauseListener, asker: asAlice, passes: passes{port: true},
		holders: one("tcp4", "0.0.0.0:9999", "alice", process(32305, "python3 app.py", 5*time.Minute))},
	"40": {attempt: asked("unix", "\x00/tmp/.X11-unix/X77"), cause: CauseListener, asker: asRoot,
		holders: one("unix", "@/tmp/.X11-unix/X77", "alice", process(1402, "Xvfb", 5*time.Hour))},
	"41": {attempt: asked("tcp", ":8000"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:8000", "app", process(25446, "python3 app.py", 2*time.Second).supervisedBy("supervisord", "supervisorctl stop web:app"))},
	"41b": {attempt: asked("tcp", ":8000"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:8000", "app", process(25446, "python3 app.py", 2*time.Second).script(25030, "bash run.sh"))},
	"42": {attempt: asked("udp", ":67"), cause: CauseDevice, asker: asRoot,
		holders: []Holder{socket("udp4", "0.0.0.0:67", "root", process(1550, "dhclient", 2*day)).on("v0")}},
	"43": {attempt: asked("unix", "/srv/app/app.sock"), cause: CauseOtherNetns, asker: asRoot,
		holders: one("unix", "/srv/app/app.sock", "root", process(2642, "python3 app.py", 2*day).in(goldenContainer))},
	"44": {attempt: asked("tcp", ":8080"), cause: CauseBound, asker: asRoot,
		holders: []Holder{bound(socket("tcp4", "0.0.0.0:8080", "alice", process(7002, "python3 app.py", 5*time.Minute)))}},
	"45": {attempt: asked("tcp", ":30080"), cause: CauseFree, asker: asRoot, facts: facts{"nodeport": ""}},
	"46": {attempt: asked("tcp", ":8080"), cause: CauseFree, asker: asRoot},
	"47": {attempt: asked("tcp", ":8080"), cause: CauseUnknown, asker: asRoot, facts: facts{"what": "not all sockets could be read in 10 s"}},
	"48": {attempt: asked("tcp", ":8080"), cause: CauseListener, asker: asRoot,
		holders: []Holder{socket("tcp4", "192.0.2.7:8080", "root", process(812, "nginx", 2*day).in(service("nginx"))),
			socket("tcp4", "127.0.0.1:8080", "alice", node())}},
	"49": {attempt: asked("tcp", ":3000"), cause: CauseListener, asker: asAlice, holders: one("tcp6", "[::]:3000", "alice", node())},
	"50": {attempt: asked("tcp", ":8080"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:8080", "root", process(5521, "nginx", 2*day).in(goldenContainer))},
	"51": {attempt: asked("tcp", ":8080"), cause: CauseListener, asker: asRoot,
		holders: one("tcp4", "0.0.0.0:8080", "root", inPodman(process(6120, "conmon", 2*day)))},
	"52": {attempt: asked("tcp", "127.0.0.1:8080"), cause: CauseListener, asker: asAlice,
		holders: one("tcp4", "127.0.0.1:8080", "alice", process(2011, "syncthing", 2*day).in("/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service"))},
}

func named(host string, a attempt) attempt { a.host = host; return a }
func bound(h Holder) Holder                { h.State = "BOUND"; return h }
func inPodman(p Process) Process {
	p.unit = unit{user: -1, container: "web", kind: "podman"}
	return p
}
