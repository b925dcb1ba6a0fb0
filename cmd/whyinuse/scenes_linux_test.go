package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// holderScenes make the situations where somebody has the address.
var holderScenes = map[string]func(s *scene){
	// Who may see what.
	"1": func(s *scene) {
		s.plays(role{name: "nginx", unit: "nginx.service", steps: []string{"tcp 0.0.0.0:80 listen"}})
		s.binder = 0
	},
	"1b": func(s *scene) {
		p := s.plays(role{name: "nginx", steps: []string{"tcp 0.0.0.0:80 listen"}})
		s.by, s.binder = fmt.Sprintf("nginx (pid %d)", p.pid), 0
	},
	"38": func(s *scene) {
		p := s.plays(role{name: "registry serve config.yml", unit: "registry.service", steps: []string{"tcp 0.0.0.0:5000 listen"}})
		s.flags, s.steps = unix.CLONE_NEWPID|unix.CLONE_NEWNS, []string{"proc"}
		s.by = fmt.Sprintf("registry serve (pid %d)", p.pid)
	},
	"38b": func(s *scene) {
		p := s.plays(role{name: "registry", steps: []string{"tcp 0.0.0.0:5000 listen"}})
		s.flags, s.steps = unix.CLONE_NEWNS, []string{"no-proc"}
		s.by = fmt.Sprintf("registry (pid %d)", p.pid)
		s.before = func() {
			steps := s.steps
			s.steps = append(steps, "run mount -t proc proc /proc")
			if _, text := s.ask(s.args...); !strings.Contains(text, s.by) {
				s.Errorf("mount -t proc does not help:\n%s", text)
			}
		}
	},
	"39": func(s *scene) {
		s.plays(role{name: "haproxy", unit: "haproxy.service", steps: []string{"tcp 0.0.0.0:4433 listen port"}})
		s.is("user haproxy", "user root")
	},
	"39c": func(s *scene) {
		s.plays(role{name: "haproxy", uid: nobody, unit: "haproxy.service", golden: 640, steps: []string{"tcp 0.0.0.0:4433 listen port"}})
	},
	"47": func(s *scene) { s.slow = true },

	// Who has it, and how to stop that.
	"2": func(s *scene) {
		// A server that ends, a process that it has started, and a client.
		server := s.plays(role{name: "redis-server", uid: nobody, steps: []string{
			"tcp 127.0.0.1:6379 addr listen", "connect 127.0.0.1:40022 127.0.0.1:6379", "accept",
			"child 65534 - sleep 1000", "forget 0 2"}})
		s.is("411", server.children[0].pid)
		s.set("ipv4/tcp_fin_timeout", "1") // as the client does not close its end
		s.after("set-reuseaddr", func() { s.passes(0, "tcp", ":6379", "addr") })
	},
	"3": func(s *scene) {
		id, unit := container(3)
		s.plays(role{name: "rabbitmq", unit: unit, flags: unix.CLONE_NEWNET, steps: []string{
			"run ip link set lo up", "run ip address add 198.18.3.2/32 dev lo"}})
		s.is("4f2a9c1b2d3e", id)
		s.dockerProxy(15672, "198.18.3.2", id)
	},
	"3b": func(s *scene) {
		// Another port than the other's, which is as easy to find.
		s.is("15672", 15673)
		s.args = []string{":15673"}
		s.mount("/run", "mode=755", 0)
		s.plays(role{name: "dockerd", steps: []string{"unix /run/docker.sock"}})
		s.must(unix.Chmod("/run/docker.sock", 0o666))
		s.dockerProxy(15673, "198.18.3.3", "0123456789ab")
		s.listed("ps", "0123456789ab\n")
		s.listed("port", "15673/tcp -> 0.0.0.0:15673\n")
		s.standInsAsRoot = true
	},
	"4": func(s *scene) {
		p := s.systemd("tcp 0.0.0.0:6720 listen")
		s.listed("list-sockets", "0.0.0.0:6720 web.socket web.service\n[::]:16720 other.socket other.service\n")
		s.named("web.socket", p.pid)
	},
	"4b": func(s *scene) {
		s.must(programsIn(s.bin, "sshd"))
		p := s.systemd("move "+s.unit("ssh.socket"), "tcp [::]:22 listen", "move "+s.unit("init.scope"),
			"child 0 "+s.unit("ssh.service")+" sshd")
		s.is("901", strings.Fields(p.lines[0])[1])
		s.named("ssh.socket", p.pid)
	},
	"5": func(s *scene) {
		s.plays(role{name: "systemd-socket-activate --listen=6600 mpd", uid: nobody, golden: 5120, steps: []string{"tcp 0.0.0.0:6600 listen"}})
	},
	"6": func(s *scene) {
		p := s.plays(role{name: "rinetd", steps: []string{"tcp 0.0.0.0:2020 listen", "child 0 - sleep 1000"}})
		s.is("733", p.children[0].pid)
		s.must(p.Process.Kill())
		p.Wait()
		p.done = true
	},
	"7": func(s *scene) {
		s.listed("on-connect.sh", "read -r line\n")
		p := s.plays(role{name: "rinetd", golden: 700, steps: []string{"tcp 0.0.0.0:2020 listen", "child 0 - sh " + s.dir + "/on-connect.sh"}})
		s.is("733", p.children[0].pid)
	},
	"7b": func(s *scene) {
		const workers = 20
		steps := []string{"tcp 0.0.0.0:8080 listen"}
		for range workers {
			steps = append(steps, "child 65534 - sleep 1000")
		}
		p := s.plays(role{name: "gunicorn app:web", uid: nobody, golden: 812, steps: steps})
		s.is("249", workers)
		s.is("246", workers-3)
		for i, golden := range []string{"813", "814", "815"} {
			s.is(golden, p.children[i].pid)
		}
	},
	"8": func(s *scene) {
		s.ip("link add vx0 type vxlan id 42 dstport 4789")
		s.ip("link set vx0 up")
	},
	"8b": func(s *scene) {
		s.fly("0.0.0.0:2049", "")
	},
	"25": func(s *scene) {
		s.ip("address add 10.0.0.5/32 dev lo")
		s.ip("address add 10.0.0.9/32 dev lo")
		s.plays(role{name: "server", steps: []string{"tcp 10.0.0.9:2049 listen"}})
		s.fly("10.0.0.5:875", "10.0.0.9:2049")
		s.set("ipv4/tcp_fin_timeout", "1")
	},
	"23": func(s *scene) {
		s.ip("address add 10.0.0.5/32 dev lo")
		s.ip("address add 10.0.0.9/32 dev lo")
		s.plays(role{name: "postgres", steps: []string{"tcp 10.0.0.9:5432 listen"}})
		s.plays(role{name: "java -jar app.jar", uid: nobody, golden: 2210, steps: []string{"connect 10.0.0.5:40001 10.0.0.9:5432"}})
		s.set("ipv4/tcp_fin_timeout", "1") // as the server does not close its end
		s.last = func() {
			s.set("ipv4/ip_local_port_range", "40001 40002")
			s.set("ipv4/ip_local_reserved_ports", "40001")
			s.plays(role{name: "client", steps: []string{"dial 10.0.0.9:5432"}}).end()
			s.set("ipv4/tcp_tw_reuse", "0")
		}
	},
	"23b": func(s *scene) {
		s.ip("address add 10.0.0.5/32 dev lo")
		s.ip("address add 10.0.0.9/32 dev lo")
		s.plays(role{name: "java -jar app.jar", uid: nobody, steps: []string{
			"tcp 10.0.0.9:5432 addr listen", "connect 10.0.0.5:40001 10.0.0.9:5432", "accept", "forget 1 2"}}).end()
		testnet.See(s, tcpAddr("10.0.0.5:40001"), tcpAddr("10.0.0.9:5432"), testnet.TimeWait)
		s.reads("42", `is in TIME_WAIT, for (\d+) s`, 1, 60)
	},
	"24": func(s *scene) {
		s.wire("v0", "v1")
		s.ip("address add 10.0.0.5/24 dev v0")
		s.ip("route add default dev v0")
		s.ip("neighbour add 192.0.2.1 lladdr 02:00:00:00:00:01 dev v0 nud permanent")
		s.plays(role{name: "curl http://192.0.2.1/", uid: nobody, golden: 2290, steps: []string{"connect 10.0.0.5:40001 192.0.2.1:80 nonblock"}})
	},
	"26": func(s *scene) {
		s.set("ipv4/ip_local_port_range", "32768 32787")
		s.is("28232", 20)
		s.is("60999", 32787)
		s.is("28101", 20)
		s.plays(role{name: "postgres", steps: []string{"tcp 127.0.0.1:5432 listen"}})
		s.plays(role{name: "java -jar app.jar", uid: nobody, golden: 2210, steps: []string{"dial 127.0.0.1:5432"}})
	},
	"28": func(s *scene) {
		s.plays(role{name: "avahi-daemon", uid: nobody, unit: "avahi-daemon.service", golden: 420, steps: []string{"udp 0.0.0.0:5353"}})
	},
	"29": func(s *scene) {
		s.plays(role{name: "avahi-daemon", uid: nobody, unit: "avahi-daemon.service", golden: 420, steps: []string{"udp 0.0.0.0:5353 addr"}})
		s.after("set-reuseaddr-both", func() { s.passes(0, "udp", ":5353", "addr") })
	},
	"31": func(s *scene) {
		s.plays(role{name: "java -jar tomcat.jar", uid: nobody, unit: "tomcat10.service", golden: 20544, steps: []string{"tcp [::ffff:127.0.0.1]:8005 listen"}})
	},
	"33": func(s *scene) { s.suspended() },
	"33b": func(s *scene) {
		p := s.plays(role{name: "server", uid: nobody, golden: 26441, steps: []string{"tcp 0.0.0.0:5000 listen"}})
		s.plays(role{name: "gdb -p " + strconv.Itoa(p.pid), golden: 26450, steps: []string{"trace " + strconv.Itoa(p.pid)}})
		s.before = func() { // a plain kill leaves it
			s.must(p.Process.Signal(unix.SIGTERM))
			s.fails(0, "tcp", ":5000")
		}
	},
	"34": func(s *scene) {
		s.plays(role{name: "agent", golden: 9117, steps: []string{"tcp 0.0.0.0:7001 listen", "thread"}})
	},
	"35": func(s *scene) {
		s.plays(role{name: "java -jar netty.jar", uid: nobody, golden: 4410, steps: []string{"tcp 0.0.0.0:9000 listen", "ring"}})
	},
	"39b": func(s *scene) {
		s.plays(role{name: "python3 app.py", uid: nobody, golden: 32305, steps: []string{"tcp 0.0.0.0:9999 listen port"}})
		s.after("share-one", func() { s.passes(nobody, "tcp", ":9999", "port") })
	},
	"40": func(s *scene) {
		s.plays(role{name: "Xvfb :77 -screen 0", uid: nobody, golden: 1402, steps: []string{"unix @/tmp/.X11-unix/X77"}})
	},
	"41": func(s *scene) {
		s.must(programsIn(s.bin, "python3"))
		p := s.plays(role{name: "supervisord -n", env: []string{"SUPERVISOR_GROUP_NAME=web", "SUPERVISOR_PROCESS_NAME=app"},
			steps: []string{"tcp 0.0.0.0:8000 listen owner=65534", "child 65534 - python3 app.py", "forget 0"}})
		s.is("25446", p.children[0].pid)
		s.named("web:app", p.children[0].pid)
	},
	"41b": func(s *scene) { s.loop() },
	"43": func(s *scene) {
		id, unit := container(43)
		s.mount("/srv", "mode=755", 0)
		s.must(unix.Mkdir("/srv/app", 0o755))
		s.plays(role{name: "python3 app.py", unit: unit, flags: unix.CLONE_NEWNET, golden: 2642, steps: []string{"unix /srv/app/app.sock"}})
		s.is("4f2a9c1b2d3e", id)
		s.last = func() { s.must(unix.Unlink("/srv/app/app.sock")) } // which is stale then
	},
	"44": func(s *scene) {
		s.plays(role{name: "python3 app.py", uid: nobody, golden: 7002, steps: []string{"tcp 0.0.0.0:8080"}})
	},
	"48": func(s *scene) {
		s.ip("address add 192.0.2.7/32 dev lo")
		s.plays(role{name: "nginx", unit: "nginx.service", golden: 812, steps: []string{"tcp 192.0.2.7:8080 listen"}})
		s.plays(role{name: "node server.js", uid: nobody, golden: 911, steps: []string{"tcp 127.0.0.1:8080 listen"}})
	},
	"49": func(s *scene) {
		s.plays(role{name: "node server.js", uid: nobody, golden: 911, steps: []string{"tcp [::]:3000 listen"}})
		s.last = func() {
			s.plays(role{name: "node server.js", uid: nobody, steps: []string{"tcp [::]:3000 listen port"}})
			s.passes(nobody, "tcp", ":3000", "port")
			s.actors[len(s.actors)-1].end()
			s.note("share: set in both, both bind")
		}
	},
	"50": func(s *scene) {
		id, unit := container(50)
		s.plays(role{name: "nginx", unit: unit, golden: 5521, steps: []string{"tcp 0.0.0.0:8080 listen"}})
		s.is("4f2a9c1b2d3e", id)
	},
	"51": func(s *scene) {
		id := strings.Repeat("5e", 32)
		p := s.plays(role{name: "conmon --api-version 1 -c " + id + " -n web -b /x", unit: "machine.slice/libpod-conmon-" + id + ".scope", golden: 6120,
			steps: []string{"tcp 0.0.0.0:8080 listen"}})
		s.named("web", p.pid)
	},
	"52": func(s *scene) {
		s.plays(role{name: "syncthing", uid: nobody, unit: "user.slice/user-65534.slice/user@65534.service/app.slice/syncthing.service", golden: 2011,
			steps: []string{"tcp 127.0.0.1:8080 listen"}})
	},

	// Where it is.
	"27": func(s *scene) {
		s.wire("v0", "v1")
		s.ip("address add 192.0.2.7/24 dev v0")
		s.plays(role{name: "systemd-resolved", uid: nobody, low: true, unit: "systemd-resolved.service", golden: 310, steps: []string{"udp 127.0.0.53:53 device=lo"}})
		s.after("other-address", func() { s.passes(0, "udp", "192.0.2.7:53") })
	},
	"31b": func(s *scene) {
		s.plays(role{name: "node server.js", uid: nobody, golden: 911, steps: []string{"tcp [::]:8080 listen"}})
		s.last = func() {
			s.plays(role{name: "node server.js", uid: nobody, steps: []string{"tcp [::]:8080 listen v6only"}})
			s.passes(0, "tcp4", ":8080")
			s.actors[len(s.actors)-1].end()
			s.note("v6only: 0.0.0.0 is left to others")
		}
	},
	"32": func(s *scene) {
		s.plays(role{name: "node vite.js", uid: nobody, golden: 3120, steps: []string{"tcp [::1]:5173 listen"}})
		s.passes(0, "tcp", "127.0.0.1:5173")
		s.at = "[::1]:5173"
	},
	"42": func(s *scene) {
		s.wire("v0", "v1")
		s.plays(role{name: "dhclient -4 v0", golden: 1550, steps: []string{"udp 0.0.0.0:67 device=v0"}})
		s.before = func() {
			s.plays(role{name: "dhcpd", steps: []string{"udp 0.0.0.0:67 device=v1"}}).end()
			s.note("at another interface it starts")
		}
	},

	// What is left.
	"36": func(s *scene) {
		s.leftover(none)
		s.before = func() { s.fails(0, "tcp", ":8080", "addr") }
	},
	"36b": func(s *scene) {
		s.leftover(addr)
		s.after("set-reuseaddr", func() { s.passes(0, "tcp", ":8080", "addr") })
		s.patience = "70s"
	},
	"30b": nothing, "46": nothing,
	"45": func(s *scene) {
		if !exists("/proc/sys/net/netfilter/nf_conntrack_count") {
			s.Skip("needs a kernel that tracks connections")
		}
	},
}

func nothing(*scene) {}

func tcpAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

// after does what a remedy without a command says, before the first that has one.
func (s *scene) after(kind string, f func()) {
	s.before = func() {
		f()
		s.note("%s: it helps", kind)
	}
}

// dockerProxy starts one, and says what ends it.
func (s *scene) dockerProxy(port int, to, id string) {
	p := s.plays(role{unit: "docker.service", golden: 24945, steps: []string{fmt.Sprintf("tcp 0.0.0.0:%d listen", port)},
		name: fmt.Sprintf("docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port %d -container-ip %s -container-port 15672", port, to)})
	s.named(id, p.pid)
}

// systemd starts it as the first process of a pid namespace, into which the scene goes.
func (s *scene) systemd(steps ...string) *player {
	p := s.plays(role{name: "systemd --system", unit: "init.scope", flags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, steps: append([]string{"proc"}, steps...)})
	s.inside = p.pid
	return p
}

// fly makes a socket that no process has.
func (s *scene) fly(at, to string) {
	s.Helper()
	if _, err := os.Readlink("/proc/1/fd/0"); errors.Is(err, os.ErrPermission) {
		// On some virtual machines root may not look at the first process.
		testnet.PrivateMounts(s)
		if err := unix.Mount("none", "/proc/1", "tmpfs", 0, ""); err != nil {
			s.Skipf("needs a first process that root may look at: %v", err)
		}
	}
	fd, err := testnet.Bind(unix.SOCK_STREAM, netip.MustParseAddrPort(at), false, testnet.NoOption)
	s.must(err)
	if to == "" {
		s.must(unix.Listen(fd, 1))
	} else {
		remote := netip.MustParseAddrPort(to)
		s.must(unix.Connect(fd, &unix.SockaddrInet4{Port: int(remote.Port()), Addr: remote.Addr().As4()}))
	}
	end, err := inFlight(fd)
	s.must(err)
	s.last = end
	s.note("the socket is on its way to another process")
}

// suspended starts a server in a shell on a terminal of its own, and types Ctrl-Z.
func (s *scene) suspended() {
	s.must(programsIn(s.bin, "python3"))
	terminal := s.terminal()
	server := terminal.server()
	s.is("26439", server.pid)
	s.is("pts/3", terminal.name)
	s.before = func() {
		s.must(unix.Kill(server.pid, unix.SIGTERM)) // a plain kill leaves it
		s.fails(0, "tcp", ":5000")
	}
	s.last = func() {
		server.wait()
		server := terminal.server()
		terminal.types("fg\n")
		for stateOf(server.pid) == 'T' {
			runtime.Gosched()
		}
		terminal.types("\x03")
		server.wait()
		s.note("fg, then Ctrl-C: it ends")
	}
}

// loop starts a server in a script that starts it again when it ends.
func (s *scene) loop() {
	bash, err := exec.LookPath("bash")
	if err != nil {
		s.Skip("needs bash")
	}
	s.must(programsIn(s.bin, "python3"))
	s.listed("run.sh", "while :; do python3 app.py; done\n")
	cmd := s.program(bash, []string{"bash", "run.sh"}, nobody, 0)
	cmd.Dir = s.dir
	cmd.Env = append(cmd.Env, "TESTNET_PROGRAM=actor", actorEnv+"=pid\ntcp 0.0.0.0:8000 listen")
	s.inGroup(cmd, "")
	p := s.starts(cmd, 25030)
	server := s.adopts(p.lines[0])
	s.is("25446", server.pid)
	s.applies = "stop-with-parent"
	s.before = func() {
		s.must(unix.Kill(server.pid, unix.SIGTERM))
		server.wait()
		lines, err := awaitLine(p.out)
		s.must(err)
		s.adopts(lines[0])
		s.fails(0, "tcp", ":8000")
		s.note("kill: it is started again")
		s.again = true
	}
	s.last = func() { p.Wait(); p.done = true }
}

// leftover leaves closed connections of a server.
func (s *scene) leftover(o options) {
	const count = 7
	ln, err := o.config().Listen(s.Context(), "tcp4", "0.0.0.0:8080")
	s.must(err)
	for range count {
		client, err := net.Dial("tcp4", "127.0.0.1:8080")
		s.must(err)
		server, err := ln.Accept()
		s.must(err)
		server.Close()
		client.Close()
		testnet.See(s, client.RemoteAddr(), client.LocalAddr(), testnet.TimeWait)
	}
	ln.Close()
	s.is("192.0.2.7:8080", "127.0.0.1:8080")
	s.reads("42", `the last one for (\d+) s`, 1, 60)
}
