package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// addressScenes make the situations where the address, the path or the right is at fault.
var addressScenes = map[string]func(s *scene){
	"9": func(s *scene) {
		s.mount("/run", "mode=755", 0)
		s.leave("/run/nginx.sock")
	},
	"10": func(s *scene) {
		dir := s.dir + "/tmp"
		s.must(os.Mkdir(dir, 0o755))
		s.must(os.Chmod(dir, 0o777|os.ModeSticky))
		s.is("/tmp", dir)
		s.args = []string{dir + "/app.sock"}
		s.leave(dir + "/app.sock")
	},
	"11": func(s *scene) {
		s.mount("/run", "mode=755", 0)
		s.must(os.MkdirAll("/var/run/docker.sock", 0o755))
	},
	"12": func(s *scene) {
		const size = 141
		path := s.dir + "/" + strings.Repeat("x", size)
		s.args = []string{path[:size-9] + "/app.sock"}
		s.last = func() {
			s.right = "./app.sock"
			s.in = filepath.Dir(s.args[0])
			s.must(os.Mkdir(s.in, 0o755))
		}
	},
	"12b": func(s *scene) { s.mount("/run", "mode=755", 0) },
	"12c": func(s *scene) {
		s.mount("/run", "mode=755", 0)
		s.must(os.Mkdir("/run/app", 0o755))
		s.binder = 0 // as it says
	},
	"13": func(s *scene) {
		tries := 3 * testnet.Slowness()
		s.wire("v0", "v1")
		s.set("ipv6/conf/v0/dad_transmits", fmt.Sprint(tries))
		s.ip("address add fd00::5/64 dev v0")
		s.is("2 s", fmt.Sprint(1+tries, " s"))
	},
	"14": func(s *scene) {
		s.wire("v0") // and v1 is down
		s.ip("address add fd00::5/64 dev v0")
		s.after("bind-any", func() { s.passes(0, "tcp", "[::]:8080") })
	},
	"15": func(s *scene) {
		s.wire()
		other := s.plays(role{name: "other-host", flags: unix.CLONE_NEWNET})
		s.ip(fmt.Sprintf("link set v1 netns %d", other.pid))
		s.ip("link set v0 up")
		p := fmt.Sprintf("nsenter -t %d -n ip ", other.pid)
		for _, args := range []string{"link set v1 up", "address add fd00::5/64 dev v1 nodad"} {
			if code, _ := s.shell(0, p+args); code != 0 {
				s.Fatalf("ip %s: exit code %d", args, code)
			}
		}
		s.ip("address add fd00::7/64 dev v0 nodad")
		s.ip("address add fd00::5/64 dev v0")
		for !s.failedCheck("fd000000000000000000000000000005") {
			runtime.Gosched()
		}
		s.right = "[fd00::7]:8080"
	},
	"16":  func(s *scene) { s.linkLocal() },
	"17":  func(s *scene) { s.linkLocal() },
	"17b": func(s *scene) { s.linkLocal() },
	"18": func(s *scene) {
		s.wire("v0", "v1")
		s.ip("address add 192.0.2.7/24 dev v0")
		s.after("bind-any", func() { s.passes(0, "tcp", "0.0.0.0:443") })
	},
	"19": func(s *scene) {
		s.set("ipv6/conf/lo/disable_ipv6", "1")
		s.after("other-address", func() { s.passes(0, "tcp", "127.0.0.1:8080") })
	},
	"20": func(s *scene) {
		s.applies = "lower-start"
		s.before = s.setcap
	},
	"21": func(s *scene) {
		s.mount("/srv", "mode=755", unix.MS_NOSUID)
		s.in = "/srv"
	},
	"22": func(s *scene) {
		s.flags = unix.CLONE_NEWUSER
		s.maps = []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
		s.is("user alice.", "user 65534.")
	},
	"37b": func(s *scene) {
		s.steps = []string{"landlock"}
		s.applies = "none"
		s.last = func() {
			s.steps = nil
			s.note("without Landlock it can be bound")
		}
	},
}

// linkLocal gives v0 an address that v1 has not.
func (s *scene) linkLocal() {
	s.wire("v0", "v1")
	s.ip("address add fe80::1/64 dev v0 nodad")
	s.right = "[fe80::1%v0]:8080"
}

// failedCheck reports whether an address was found to be another host's.
func (s *scene) failedCheck(addr string) bool {
	s.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/if_inet6")
	s.must(err)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		var flags uint
		fmt.Sscanf(fields[4], "%x", &flags)
		if fields[0] == addr && flags&unix.IFA_F_DADFAILED != 0 {
			return true
		}
	}
	return false
}

// setcap gives a server the right to use low ports.
func (s *scene) setcap() {
	s.Helper()
	if _, err := exec.LookPath("setcap"); err != nil {
		s.note("no setcap here")
		return
	}
	server := s.dir + "/server"
	s.must(copyProgram(server))
	i := slices.IndexFunc(s.o.Remedies, func(r remedy) bool { return r.Kind == "setcap" })
	if code, _ := s.shell(0, strings.Replace(s.o.Remedies[i].Command, "PROGRAM", server, 1)); code != 0 {
		s.Errorf("setcap: exit code %d", code)
	}
	cmd := s.program(server, []string{"server", "tcp", ":80"}, nobody, 0)
	cmd.Env = append(cmd.Env, "TESTNET_PROGRAM=binder")
	if _, said := s.result(cmd); said != "ok\n" {
		s.Errorf("setcap does not help: %s", said)
	}
	s.note("setcap: it helps")
}
