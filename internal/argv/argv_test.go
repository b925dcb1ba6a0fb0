package argv

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestName(t *testing.T) {
	for _, test := range []struct {
		line          string // arguments, with a bar between them
		comm          string
		name, program string
	}{
		{"python3|app.py", "python3", "python3 app.py", "python3"},
		{"/usr/bin/python3.11|-u|/srv/app.py|--password|secret", "python3.11", "python3.11 app.py", "python3.11"},
		{"python3|-m|http.server|8000", "python3", "python3 -m http.server", "python3"},
		{"python3|-um|http.server", "python3", "python3 -m http.server", "python3"},
		{"python3|-mhttp.server", "python3", "python3 -m http.server", "python3"},
		{"python3|-W|ignore|-Xdev|app.py", "python3", "python3 app.py", "python3"},
		{"python3|-c|secret", "python3", "python3 -c", "python3"},
		{"python3", "python3", "python3", "python3"},
		{"python3|-|secret", "python3", "python3", "python3"},
		{"node|server.js", "node", "node server.js", "node"},
		{"node|--inspect=9229|-r|dotenv/config|/srv/vite.js", "node", "node vite.js", "node"},
		{"node|--env-file|.env|server.js", "MainThread", "node server.js", "node"},
		{"node|-e|secret", "node", "node -e", "node"},
		{"node|--eval|secret", "node", "node -e", "node"},
		{"node /srv/server.js", "node", "node server.js", "node"}, // a title
		{"java|-Xmx1g|-Ddb.password=secret|-jar|/opt/app.jar|secret", "java", "java -jar app.jar", "java"},
		{"java|-cp|/a:/b|-Dx=y|com.example.Main|secret", "java", "java Main", "java"},
		{"java|--module-path|/a|-m|mod.ule/com.example.Main", "java", "java Main", "java"},
		{"java|-version", "java", "java", "java"},
		{"bash|run.sh", "bash", "bash run.sh", "bash"},
		{"/bin/sh|-e|/root/on-connect.sh|secret", "on-connect.sh", "sh on-connect.sh", "sh"},
		{"bash|-c|secret", "bash", "bash -c", "bash"},
		{"bash|-eo|pipefail|run.sh", "bash", "bash run.sh", "bash"},
		{"bash|-ec|secret", "bash", "bash -c", "bash"},
		{"-bash", "bash", "bash", "bash"},
		{"ruby|-Ilib|-r|x|config.ru", "ruby", "ruby config.ru", "ruby"},
		{"perl|-e|secret", "perl", "perl -e", "perl"},
		{"php|-S|0.0.0.0:8000|-t|public", "php", "php", "php"},
		{"php|-S|0.0.0.0:8000|router.php", "php", "php router.php", "php"},
		// Scripts that name their interpreter in their first line.
		{"/usr/bin/python3|/usr/bin/gunicorn|-w|4|app:web", "gunicorn", "gunicorn app:web", "gunicorn"},
		{"/usr/bin/python3|/srv/app.py|secret1", "app.py", "python3 app.py", "python3"},
		{"/usr/bin/python3|/usr/bin/supervisord|-n", "supervisord", "supervisord", "supervisord"},
		{"gunicorn|--bind|0.0.0.0:8000|-e|K=secret|app:web", "gunicorn", "gunicorn app:web", "gunicorn"},
		{"uvicorn|main:app|--port|80", "uvicorn", "uvicorn main:app", "uvicorn"},
		// Titles.
		{"nginx: master process /usr/sbin/nginx -g daemon on;|||", "nginx", "nginx", "nginx"},
		{"postgres: 14/main: walwriter  ", "postgres", "postgres", "postgres"},
		{"gunicorn: master [app:web]", "gunicorn", "gunicorn", "gunicorn"},
		{"/usr/bin/redis-server 127.0.0.1:6379", "redis-server", "redis-server", "redis-server"},
		{"PM2 v5.3.0: God Daemon (/root/.pm2)", "PM2 v5.3.0: God", "PM2", "PM2"},
		{"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "sshd", "sshd", "sshd"},
		{"avahi-daemon: running [host.local]", "avahi-daemon", "avahi-daemon", "avahi-daemon"},
		{"/opt/My App/server", "server", "server", "server"},
		{"/opt/my server", "my server", "my server", "my server"},
		{"/sbin/init|splash", "systemd", "systemd", "systemd"},
		{"/usr/lib/systemd/systemd|--user", "systemd", "systemd", "systemd"},
		{"/sbin/init|splash", "init", "init splash", "init"},
		// Other programs.
		{"sleep|1000", "sleep", "sleep 1000", "sleep"},
		{"/usr/sbin/rinetd", "rinetd", "rinetd", "rinetd"},
		{"registry|serve|/etc/config.yml", "registry", "registry serve", "registry"},
		{"redis-server|/etc/redis/redis6.conf", "redis-server", "redis-server redis6.conf", "redis-server"},
		{"Xvfb|:77|-screen", "Xvfb", "Xvfb", "Xvfb"},
		{"dhclient|-4|-pf|/run/dhclient.pid|eth0", "dhclient", "dhclient", "dhclient"},
		{"server|-p|secret", "server", "server", "server"},
		{"server|-p=secret", "server", "server", "server"},
		{"curl|http://me:secret@example.com/secret", "curl", "curl", "curl"},
		{"server|PASSWORD=secret", "server", "server", "server"},
		{"server|me:secret", "server", "server", "server"},
		{"server|me@secret", "server", "server", "server"},
		{"server|secret1", "server", "server", "server"},
		{"server|SECRET", "server", "server", "server"},
		{"server|Secret.1.more", "server", "server", "server"},
		{"server|secretsecretsecret", "server", "server", "server"},
		{"server|4711471147114711", "server", "server", "server"},
		{"server|secret word", "server", "server", "server"},
		// Without arguments, or with hostile ones.
		{"", "agent", "agent", "agent"},
		{"||", "agent", "agent", "agent"},
		{"", "", "", ""},
		{"/", "x", "/", "/"},
		{"\x1b[2J|\x1b[2J", "x", "\x1b[2J", "\x1b[2J"},
		{"a-program-with-a-name-of-forty-characters", "a-program-with-", "a-program-with-a-name-of-forty-c", "a-program-with-a-name-of-forty-characters"},
		{"python3|ööööööööööööööööööööööööööööööö.py", "python3", "python3 öööööööööööö", "python3"},
	} {
		name, program := Name(strings.Split(test.line, "|"), test.comm)
		if name != test.name || program != test.program {
			t.Errorf("%s: %q of %q, want %q of %q", test.line, name, program, test.name, test.program)
		}
		if strings.Contains(name, "secret") {
			t.Errorf("%s: the name %q has a secret", test.line, name)
		}
	}
	if name, program := Name(nil, "kthreadd"); name != "kthreadd" || program != name {
		t.Errorf("%q of %q", name, program)
	}
}

func TestIsScript(t *testing.T) {
	for line, want := range map[string]bool{
		"bash|run.sh": true, "/bin/sh|-c|x": true, "dash|-e|/srv/run.sh": true, "bash|-euo|pipefail|run.sh": true,
		"bash": false, "-bash": false, "bash|-i": false, "bash|-i|run.sh": false, "bash|--login|run.sh": false, "-bash|run.sh": false,
		"bash|-lc|x": false, "bash|-s": false, "": false, "python3|app.py": false, "zsh|--|run.sh": true, "bash|--norc": false,
	} {
		if got := IsScript(strings.Split(line, "|")); got != want {
			t.Errorf("%s: %v, want %v", line, got, want)
		}
	}
}

// FuzzName: whatever the arguments are, the name is short, and what follows an option
// or the first argument does not get into it.
func FuzzName(f *testing.F) {
	f.Add("python3|app.py", "python3")
	f.Add("java|-jar", "java")
	f.Add("nginx: master|", "nginx")
	f.Fuzz(func(t *testing.T, line, comm string) {
		args := strings.Split(line, "|")
		name, _ := Name(args, comm)
		if len(name) > most {
			t.Errorf("%q: %q", line, name)
		}
		if utf8.ValidString(line) && utf8.ValidString(comm) && !utf8.ValidString(name) {
			t.Errorf("%q: %q is cut within a character", line, name)
		}
		if len(args) < 2 || strings.Contains(line, "\x01") {
			return
		}
		// A value at the end, after an option that takes none.
		for _, arg := range args[1:] {
			if !strings.HasPrefix(arg, "-") || strings.HasSuffix(arg, "m") || strings.HasSuffix(arg, "f") || arg == "-jar" || arg == "--" {
				IsScript(args)
				return
			}
		}
		if _, isInterpreter := runners[plain(base(args[0]))]; isInterpreter {
			return
		}
		if name, _ := Name(append(args, "secret\x01"), comm); strings.Contains(name, "\x01") && !strings.Contains(args[0], "\x01") {
			t.Errorf("%q: %q", line, name)
		}
	})
}
