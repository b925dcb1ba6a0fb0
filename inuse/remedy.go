package inuse

import "strings"

// A Remedy is one thing to do.
type Remedy struct {
	Kind      string // a word for programs, such as "stop-service"
	Text      string // what it is, such as "stop the service"
	Command   string // for a POSIX shell; "" if there is none
	NeedsRoot bool   // Command takes root, and this process's user is not
}

// A class is what a remedy is for.
type class uint8

const (
	toFree   class = iota // somebody has the address
	toFix                 // the address, the path or a right is at fault
	toKnow                // it changes nothing
	toBeside              // both servers run
	toNow                 // the refused server is changed
	besides               // it is done as well, not instead
)

// label introduces a remedy of the class.
func (c class) label() string {
	return [...]string{"To free it", "To fix it", "To find out", "To start beside it", "To start now", "And"}[c]
}

// A cure is what is known of a kind of remedy. In braces are facts.
type cure struct {
	text, command string
	needs         right
	golang        string // how it is done in Go
}

// A right is what a command takes.
type right uint8

const (
	anybody right = iota
	owner         // of the process or file, or root
	root
)

// cures are all kinds of remedies.
var cures = map[string]cure{
	"stop-service":      {text: "stop the service", command: "systemctl stop {unit}", needs: root},
	"stop-user-service": {text: "stop the service", command: "systemctl --user stop {unit}"},
	"stop-others-service": {text: "stop the service, which is one of user {user}",
		command: "systemctl --user -M {user}@ stop {unit}", needs: root},
	"stop-snap":        {text: "stop the service", command: "snap stop {unit}", needs: root},
	"stop-socket-unit": {text: "stop the socket unit{and}", needs: root},
	"stop-listed-socket": {text: "stop the socket unit that systemd listens for",
		command: "systemctl stop $(systemctl list-sockets --no-legend | awk '$1 ~ /:{port}$/ {print $2}')", needs: root},
	"stop-user-socket": {text: "stop the socket unit that systemd listens for",
		command: "systemctl --user stop $(systemctl --user list-sockets --no-legend | awk '/:{port} /{print $2}')"},
	"stop-users-socket": {text: "stop the socket unit of user {user} that systemd listens for"},
	"stop-container":    {text: "stop the container", command: "docker stop {container}"},
	"stop-publisher": {text: "stop the container that publishes the port",
		command: "for c in $(docker ps -q); do docker port $c | grep -q '{net}.*:{port}$' && docker stop $c; done"},
	"stop-podman":     {text: "stop the container", command: "podman stop {container}"},
	"find-podman":     {text: "see which container publishes the port", command: "podman port -a | grep ':{port}$'"},
	"stop-lxc":        {text: "stop the container", command: "lxc stop {container}"},
	"stop-machine":    {text: "stop the container", command: "machinectl poweroff {container}", needs: root},
	"delete-pod":      {text: "delete or move its pod (a stopped container is started again)", command: "crictl ps --id {container}", needs: root},
	"stop-supervised": {text: "stop it through {supervisor}", needs: root},

	"stop-process":     {text: "stop the process", command: "kill {pid}", needs: owner},
	"stop-client":      {text: "stop the process, whose connection may stay for another minute", command: "kill {pid}", needs: owner},
	"stop-connection":  {text: "stop the process, whose connection may stay for another minute", command: "kill {pid}", needs: owner},
	"stop-with-parent": {text: "stop it with {parent} (pid {ppid}), if that starts it again", command: "kill {ppid} {pid}", needs: owner},
	"resume-and-stop":  {text: "end the process and wake it, as it cannot end while suspended", command: "kill {pid} && kill -CONT {pid}", needs: owner},
	"foreground":       {text: "type fg in its terminal ({tty}), then Ctrl-C"},
	"kill-traced":      {text: "quit the debugger {tracer}, or end the process by force", command: "kill -KILL {pid}", needs: owner},
	"stop-all":         {text: "stop {all}"},
	"stop-group":       {text: "stop all of them, which are one process group", command: "kill -- -{pgid}", needs: owner},
	"interface-down":   {text: "take the interface down", command: "ip link set {if} down", needs: root},
	"close-first":      {text: "close that one first"},
	"leave-out":        {text: "leave 0.0.0.0 out, or make the [::] socket IPv6 only", golang: "listen on tcp6 for [::]"},

	"wait":               {text: "wait {seconds} s"},
	"drop-closed":        {text: "drop those connections now", command: "ss -tK state {state} sport = :{port}", needs: root},
	"set-reuseaddr":      {text: "set SO_REUSEADDR in the server that is refused", golang: "open it with reuse.Listen"},
	"dial-reuseaddr":     {text: "set SO_REUSEADDR in the client that is refused", golang: "net.Dialer{Control: reuse.Addr.Control}"},
	"set-reuseaddr-both": {text: "set SO_REUSEADDR in both, if both are to get the datagrams", golang: "open both with reuse.ListenPacket"},
	"v6only":             {text: "let it listen on IPv6 only (IPV6_V6ONLY), which leaves IPv4 to others"},
	"share":              {text: "set SO_REUSEPORT in both, if they are copies of one server", golang: "open both with reuse.Port.Listen"},
	"share-one":          {text: "set SO_REUSEPORT in yours too, if it is a copy of the same server", golang: "open yours with reuse.Port.Listen"},
	"reserve":            {text: "keep outgoing connections off the port from now on", command: "sysctl -w net.ipv4.ip_local_reserved_ports={reserved}", needs: root},
	"another-source":     {text: "dial from another port, or wait until that connection is gone"},

	"other-address":    {text: "{use} another address of this host, such as {address}"},
	"bind-any":         {text: "listen on {any}, which is every address of this host"},
	"leave-source":     {text: "leave the address to the system: dial without a local one"},
	"nonlocal":         {text: "let servers listen on addresses that are not usable yet", command: "sysctl -w {key}=1", needs: root},
	"ipv6-on":          {text: "switch IPv6 on for {if}", command: "sysctl -w net.ipv6.conf.{conf}.disable_ipv6=0", needs: root},
	"link-up":          {text: "set {if} up", command: "ip link set {if} up", needs: root},
	"use-zone":         {text: "{use} {address}"},
	"widen-range":      {text: "widen the range", command: `sysctl -w net.ipv4.ip_local_port_range="1024 65535"`, needs: root},
	"setcap":           {text: "give the right to the program file of your server (PROGRAM)", command: "setcap cap_net_bind_service=+ep PROGRAM", needs: root},
	"lower-start":      {text: "allow all users ports from {port}, until the next boot", command: "sysctl -w net.ipv4.ip_unprivileged_port_start={port}", needs: root},
	"selinux-port":     {text: "let web servers have the port, in SELinux", command: "semanage port -a -t http_port_t -p {net} {port}", needs: root},
	"remove-file":      {text: "remove the file", command: "rm {path}", needs: owner, golang: "use reuse.Listen, which removes it"},
	"remove-if-gone":   {text: "remove the file, if its server has ended", command: "rm {path}", needs: owner, golang: "use reuse.Listen, which removes it"},
	"move-away":        {text: "move it away, if nobody needs it", command: "mv {path} {old}", needs: owner},
	"remove-directory": {text: "remove the directory, which is empty", command: "rmdir {path}", needs: owner},
	"make-directory":   {text: "create it{inunit}", command: "mkdir -p {dir}", needs: owner},
	"run-as-owner":     {text: "run the server as {owner}, or choose a path that {me} may write to"},
	"shorter-path":     {text: "choose a shorter path, or a relative one"},
	"other-path":       {text: "choose another path"},

	"read-avc":     {text: "see what SELinux denied", command: "ausearch -m avc -ts recent", needs: root},
	"read-audit":   {text: "see which rule it was", command: `journalctl --since -5min -g "denied|landlock"`, needs: root},
	"look-as-root": {text: "look as root", command: "whyinuse {ask}", needs: root},
	"look-outside": {text: "look on the host, outside this container", command: "whyinuse {ask}"},
	"look-again":   {text: "ask again", command: "whyinuse {ask}"},
	"find-kernel":  {text: "see whether the kernel serves it, as it does NFS", command: "rpcinfo -p | grep -w {port}"},
	"find-mounts":  {text: "see whether a network mount has it", command: "findmnt -t nfs,nfs4,cifs,ceph"},

	// Of other systems (manager.go). Windows has no sudo, so the text says who may.
	"stop-brew":            {text: "stop the service of Homebrew", command: "brew services stop {unit}", needs: owner},
	"stop-launchd-job":     {text: "stop the job of launchd", command: "launchctl bootout {domain}/{unit}", needs: owner},
	"switch-off-sharing":   {text: "switch off what launchd listens for, mostly in System Settings, General, Sharing"},
	"switch-off-airplay":   {text: "switch off AirPlay Receiver, in System Settings, General, AirDrop & Handoff"},
	"stop-rc-service":      {text: "stop the service", command: "service {unit} stop", needs: root},
	"stop-windows-service": {text: "stop the service, as administrator", command: "net stop {unit}"},
	"find-services":        {text: "see which services the process has", command: "tasklist /svc /fi \"PID eq {pid}\""},
	"end-task":             {text: "stop the process", command: "taskkill /PID {pid}"},
	"end-task-by-force":    {text: "end it by force, as a program without a window does not obey that", command: "taskkill /F /PID {pid}"},
	"find-http":            {text: "see what Windows itself listens for", command: "netsh http show servicestate"},
	"find-excluded":        {text: "see which ports Windows has set aside", command: "netsh interface ipv4 show excludedportrange protocol={net}"},
	"find-publisher":       {text: "see which container publishes the port, and stop it", command: "docker ps"},
	"find-wsl":             {text: "see which server inside WSL has it", command: "wsl ss -lntp"},
	"lower-reserved":       {text: "allow all users ports from {port}, until the next boot", command: "sysctl net.inet.ip.portrange.reservedhigh={below}", needs: root},
	"look-elevated":        {text: "ask again as administrator", command: "whyinuse {ask}"},
	"other-port":           {text: "listen on a port outside of {range}"},
}

// classOf returns what a remedy of the kind is for, if its cause has class c.
func classOf(kind string, c class) class {
	word, _, _ := strings.Cut(kind, "-")
	switch {
	case word == "look", word == "find", word == "read":
		return toKnow
	case kind == "reserve":
		return besides
	case kind == "set-reuseaddr", kind == "dial-reuseaddr":
		return toNow
	case c != toFix && (kind == "other-address" || kind == "bind-any" || kind == "set-reuseaddr-both"):
		return toBeside
	case c == toKnow:
		return toFree
	}
	return c
}

// Facts are what a text names, by the words that stand for them in braces.
type facts map[string]string

// fill returns a template with the facts in it.
func (f facts) fill(template string) string {
	s, _ := f.each(template, func(s string) (string, bool) { return s, true })
	return s
}

// command is fill for a shell. It is not ok if a fact cannot stand in a command.
func (f facts) command(template string) (_ string, ok bool) { return f.each(template, quote) }

func (f facts) each(template string, word func(string) (string, bool)) (_ string, ok bool) {
	var s strings.Builder
	for {
		before, after, found := strings.Cut(template, "{")
		s.WriteString(before)
		if !found {
			return s.String(), true
		}
		name, rest, _ := strings.Cut(after, "}")
		value, known := f[name]
		if !known { // awk's
			s.WriteString("{")
			template = after
			continue
		}
		if value, ok = word(value); !ok {
			return "", false
		}
		s.WriteString(value)
		template = rest
	}
}
