package inuse

import (
	"strings"
	"testing"
	"time"
)

// TestStop: what stops whom, by the rules that the golden texts do not need.
func TestStop(t *testing.T) {
	plain := process(8, "a", time.Hour)
	docker := process(9, "docker-proxy", time.Hour)
	listen := func(user string, p ...Process) []Holder { return one("tcp4", "0.0.0.0:80", user, p...) }
	apart := func(n int) (all []Process) {
		for i := range n {
			all = append(all, process(10+i, "a", time.Hour))
		}
		return all
	}
	inUserService := process(8, "a", time.Hour).in("/user.slice/user-0.slice/user@0.service/app.slice/b.service")
	for name, test := range map[string]struct {
		asker   asker
		holders []Holder
		want    string // the commands
	}{
		"another user's process":                    {asAlice, listen("root", plain), "sudo kill 8"},
		"one's own":                                 {asAlice, listen("alice", plain), "kill 8, -"},
		"another user's, suspended":                 {asAlice, listen("root", plain.stopped()), "sudo sh -c 'kill 8 && kill -CONT 8', -"},
		"no docker, a proxy":                        {asker{uid: 5}, listen("root", docker), "sudo whyinuse 80"},
		"no docker, a container":                    {asker{uid: 5}, listen("root", plain.in(goldenContainer)), "sudo docker stop 4f2a9c1b2d3e"},
		"from within a container":                   {asker{root: true, container: true}, listen("root", plain.in(goldenContainer)), "kill 8"},
		"docker's own service":                      {asRoot, listen("root", plain.in(service("docker"))), "kill 8"},
		"a session":                                 {asRoot, listen("root", plain.in("/user.slice/user-1000.slice/session-3.scope")), "kill 8"},
		"a terminal of a desktop":                   {asRoot, listen("root", plain.in("/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope")), "kill 8"},
		"a user's service, for root":                {asRoot, []Holder{socket("tcp4", "0.0.0.0:80", "alice", plain.in("/user.slice/user-1000.slice/user@1000.service/b.service"))}, "systemctl --user -M alice@ stop b"},
		"one's own service":                         {asRoot, listen("root", inUserService), "systemctl --user stop b"},
		"a snap":                                    {asRoot, listen("root", plain.in("/system.slice/snap.lxd.daemon.service")), "snap stop lxd.daemon"},
		"a template":                                {asRoot, listen("root", plain.in(`/system.slice/system-a.slice/a@1\x2d2.service`)), "systemctl stop a@1-2"},
		"a name that is an option":                  {asRoot, listen("root", plain.in("/system.slice/-f.service")), "-"},
		"a name with a blank":                       {asRoot, listen("root", plain.in("/system.slice/a b.service")), "systemctl stop 'a b'"},
		"a pod":                                     {asRoot, listen("root", plain.in("/kubepods.slice/cri-containerd-0123456789abcdef.scope")), "crictl ps --id 0123456789ab"},
		"docker without systemd":                    {asRoot, listen("root", plain.in("/docker/"+strings.Repeat("0123456789abcdef", 4))), "docker stop 0123456789ab"},
		"a pod without systemd":                     {asRoot, listen("root", plain.in("/kubepods/burstable/pod1-2/"+strings.Repeat("0123456789abcdef", 4))), "crictl ps --id 0123456789ab"},
		"a user's pm2":                              {asAlice, listen("root", plain.supervisedBy("pm2", "pm2 stop 0")), "sudo pm2 stop 0"},
		"one's own pm2":                             {asker{uid: 0}, listen("root", plain.supervisedBy("pm2", "pm2 stop 0")), "pm2 stop 0"},
		"podman":                                    {asRoot, listen("root", plain.in("/machine.slice/libpod-0123456789abcdef.scope")), "podman stop 0123456789ab"},
		"podman's listener, of which no name":       {asRoot, listen("root", process(8, "rootlessport", time.Hour)), "podman port -a | grep ':80$'"},
		"lxc":                                       {asRoot, listen("root", plain.in("/lxc.payload.web/system.slice")), "lxc stop web"},
		"a service in a machine":                    {asRoot, listen("root", plain.in("/machine.slice/machine-web.scope/system.slice/nginx.service")), "machinectl poweroff web"},
		"workers of a service":                      {asRoot, listen("root", plain.in(service("a")), process(9, "b", time.Hour).in(service("a"))), "systemctl stop a"},
		"four":                                      {asRoot, listen("root", apart(4)...), "kill 10 11 12 13"},
		"five without a group":                      {asRoot, listen("root", apart(5)...), "kill 10 11 12 13 14"},
		"too many without a group":                  {asRoot, listen("root", apart(50)...), "-"},
		"another user's docker-proxy":               {asRoot, listen("alice", docker.in(goldenContainer)), "kill 9"},
		"another user's podman":                     {asRoot, listen("alice", process(8, "rootlessport", time.Hour)), "kill 8"},
		"root's podman, for a user":                 {asAlice, listen("root", inPodman(process(8, "conmon", time.Hour))), "sudo podman stop web"},
		"another user's supervisor":                 {asRoot, listen("alice", plain.supervisedBy("supervisord", "supervisorctl stop db:postgres").managedBy(alice)), "kill 8"},
		"a container that another user says he has": {asRoot, listen("alice", plain.in("/user.slice/user-1000.slice/user@1000.service"+strings.TrimPrefix(goldenContainer, "/system.slice"))), "kill 8"},
		"another user's systemd":                    {asRoot, listen("alice", process(700, "systemd", time.Hour)), "-"},
		"five of a group":                           {asRoot, []Holder{socket("tcp4", "0.0.0.0:80", "root", apart(5)...).groupOf(10)}, "kill -- -10"},
		"two, one of them suspended":                {asRoot, listen("root", plain, process(9, "b", time.Hour).stopped()), "kill 8 9 && kill -CONT 9"},
		"a service and a process, for a user":       {asAlice, append(listen("root", plain.in(service("a"))), one("tcp4", "127.0.0.1:80", "alice", process(9, "b", time.Hour))...), "sudo sh -c 'systemctl stop a && kill 9'"},
		"systemd, and two services":                 {asRoot, listen("root", process(1, "systemd", time.Hour).in("/system.slice/a.socket"), plain.in(service("a")), process(9, "b", time.Hour).in(service("b"))), "systemctl stop a.socket a.service b.service"},
		"a user's systemd":                          {asAlice, listen("alice", process(700, "systemd", time.Hour).in("/user.slice/user-1000.slice/user@1000.service/init.scope")), `systemctl --user stop $(systemctl --user list-sockets --no-legend | awk '/:80 /{print $2}')`},
		"one process with two sockets":              {asRoot, append(listen("root", plain), one("tcp6", "[::]:80", "root", plain)...), "kill 8"},
		"a container published at two sockets":      {asRoot, append(listen("root", docker.in(goldenContainer)), one("tcp6", "[::]:80", "root", process(19, "docker-proxy", time.Hour).in(goldenContainer))...), "docker stop 4f2a9c1b2d3e"},
	} {
		t.Run(name, func(t *testing.T) {
			f := finding{attempt: asked("tcp", ":80"), cause: CauseListener, asker: test.asker, holders: test.holders, now: goldenNow}
			e := f.error()
			var commands []string
			for _, r := range e.Remedies {
				command := r.sudo()
				if command == "" {
					command = "-"
				}
				commands = append(commands, command)
			}
			if got := strings.Join(commands, ", "); got != test.want {
				t.Errorf("%s, want %s\n%s", got, test.want, e.Text())
			}
			checkShape(t, e)
		})
	}
}
