package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What people write, and what other programs print.
func TestParse(t *testing.T) {
	t.Setenv("HOME", "/home/alice")
	for _, test := range []struct{ args, want string }{
		{"8080", "tcp :8080"},
		{":8080", "tcp :8080"},
		{"0", "tcp :0"},
		{"65535", "tcp :65535"},
		{"http", "tcp :80"},
		{"HTTPS", "tcp :443"},
		{":http", "tcp :80"},
		{"localhost:8080", "tcp localhost:8080"},
		{"localhost:http", "tcp localhost:80"},
		{"my-host_1.example:8080", "tcp my-host_1.example:8080"},
		{"127.0.0.1:8080", "tcp 127.0.0.1:8080"},
		{"0.0.0.0:8080", "tcp 0.0.0.0:8080"},
		{"[::]:8080", "tcp [::]:8080"},
		{"[::1]:8080", "tcp [::1]:8080"},
		{"[fe80::1%v0]:8080", "tcp [fe80::1%v0]:8080"},
		{"localhost:8080/index.html", "tcp localhost:8080"},

		// Networks.
		{"tcp 8080", "tcp :8080"},
		{"tcp :9999", "tcp :9999"},
		{"tcp4:8080", "tcp4 :8080"},
		{"tcp6 [::1]:8080", "tcp6 [::1]:8080"},
		{"tcp/8080", "tcp :8080"},
		{"8080/tcp", "tcp :8080"},
		{"tcp:8080", "tcp :8080"},
		{"TCP:8080", "tcp :8080"},
		{"tcp:localhost:8080", "tcp localhost:8080"},
		{"udp:53", "udp :53"},
		{"udp 53", "udp :53"},
		{"53/udp", "udp :53"},
		{"UDP :53", "udp :53"},
		{"udp/53", "udp :53"},
		{"udp domain", "udp :53"},
		{"udp4 127.0.0.53:53", "udp4 127.0.0.53:53"},
		{"tcp4 8080/tcp", "tcp4 :8080"},
		{"tcp4 53/udp", "udp :53"},
		{"udp 53 tcp:80", "udp :53, tcp :80"},
		{"udp 53 67", "udp :53, udp :67"},
		{"udp 53 tcp 80", "udp :53, tcp :80"},
		{"udp 53 /run/x", "udp :53, unix /run/x"},

		// URLs.
		{"http://localhost:8080", "tcp localhost:8080"},
		{"http://localhost:8080/", "tcp localhost:8080"},
		{"http://localhost", "tcp localhost:80"},
		{"http://localhost:/", "tcp localhost:80"},
		{"https://host", "tcp host:443"},
		{"https://ssh/x?y#z", "tcp ssh:443"},
		{"https://user:secret@host/x@y", "tcp host:443"},
		{"HTTP://[::1]:8080/x", "tcp [::1]:8080"},
		{"http://[::1]", "tcp [::1]:80"},
		{"ws://localhost", "tcp localhost:80"},
		{"postgres://u@db/x", "tcp db:5432"},
		{"foo://host:81", "tcp host:81"},
		{"tcp://0.0.0.0:2375", "tcp 0.0.0.0:2375"},
		{"udp://127.0.0.1:53", "udp 127.0.0.1:53"},

		// Node.js, ss, lsof, netstat, docker.
		{":::8080", "tcp [::]:8080"},
		{"::1:8080", "tcp [::1]:8080"},
		{"*:8080", "tcp :8080"},
		{"127.0.0.53%lo:53", "tcp 127.0.0.53:53"},
		{"*%eth0:67", "tcp :67"},
		{"TCP :8080", "tcp :8080"},
		{"TCP *:8080 (LISTEN)", "tcp :8080"},
		{"'TCP *:8080 (LISTEN)'", "tcp :8080"},
		{"'*:8080 (LISTEN)'", "tcp :8080"},
		{"' 8080 '", "tcp :8080"},
		{"TCP 127.0.0.1:8080->127.0.0.1:40022 (ESTABLISHED)", "tcp 127.0.0.1:8080"},
		{"127.0.0.1.8080", "tcp 127.0.0.1:8080"},
		{"*.8080", "tcp :8080"},
		{"::1.8080", "tcp [::1]:8080"},
		{"0.0.0.0:8080->80/tcp", "tcp 0.0.0.0:8080"},
		{":::53->53/udp", "udp [::]:53"},

		// Paths.
		{"/run/x", "unix /run/x"},
		{"./x", "unix ./x"},
		{"../x", "unix ../x"},
		{"~/x", "unix /home/alice/x"},
		{"'/run/a b'", "unix /run/a b"},
		{"/run/x:8080", "unix /run/x:8080"},
		{"unix:///run/x", "unix /run/x"},
		{"unix:/run/x", "unix /run/x"},
		{"unix:app.sock", "unix app.sock"},
		{"unix:./app.sock", "unix ./app.sock"},
		{"unix app.sock", "unix app.sock"},
		{"unix 8080", "unix 8080"},
		{"unix:tcp:8080", "unix tcp:8080"},
		{"unixgram:x", "unixgram x"},
		{"unixpacket /run/x", "unixpacket /run/x"},
		{"@abstract", "unix @abstract"},
		{"unix:@abstract", "unix @abstract"},
		{"@/tmp/.X11-unix/X77", "unix @/tmp/.X11-unix/X77"},

		// Flags anywhere.
		{"-json 8080", "json tcp :8080"},
		{"8080 -json", "json tcp :8080"},
		{"--json 8080", "json tcp :8080"},
		{"-wait 30s 8080", "wait 30s tcp :8080"},
		{"8080 -wait 30s 9090", "wait 30s tcp :8080, tcp :9090"},
		{"--wait=1m30s 8080", "wait 1m30s tcp :8080"},
		{"udp -json 53", "json udp :53"},
		{"-- 8080", "tcp :8080"},
		{"-json -- ./-x", "json unix ./-x"},
		{"", ""},
		{"-json", "json"},
		{"-h", "help"},
		{"8080 -help", "help"},
		{"--help -json", "json help"},
		{"-h 99999 -x", "help"},
	} {
		c, err := parseArguments(shellWords(test.args))
		if got := c.string(); err != nil || got != test.want {
			t.Errorf("%s: %q, %v, want %q", test.args, got, err, test.want)
		}
	}
	if c, err := parseArguments([]string{"~root/x"}); err != nil || !filepath.IsAbs(c.targets[0].address) {
		t.Errorf("~root/x: %q, %v", c.string(), err)
	}
}

// Wrong calls, and what is said to them.
func TestParseWrong(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"99999", `"99999" is no port: ports go up to 65535`},
		{":65536", `"65536" is no port: ports go up to 65535`},
		{"localhost:123456789012345678901", `"123456789012345678901" is no port: ports go up to 65535`},
		{"http://localhost:99999", `"99999" is no port: ports go up to 65535`},
		{"192.0.2.7", `192.0.2.7 has no port: whyinuse 192.0.2.7:8080`},
		{"192.0.2.7:", `192.0.2.7 has no port: whyinuse 192.0.2.7:8080`},
		{"udp 192.0.2.7", `192.0.2.7 has no port: whyinuse 192.0.2.7:8080`},
		{"2001:db8::1", `2001:db8::1 has no port: whyinuse [2001:db8::1]:8080`},
		{"[::1]", `::1 has no port: whyinuse [::1]:8080`},
		{"[::1]:", `::1 has no port: whyinuse [::1]:8080`},
		{"::", `:: has no port: whyinuse [::]:8080`},
		{"localhost", `localhost has no port: whyinuse localhost:8080`},
		{"foo://host", `host has no port: whyinuse host:8080`},
		{"app.sock", `"app.sock" is no address; for a file: whyinuse ./app.sock`},
		{"a/b", `"a/b" is no address; for a file: whyinuse ./a/b`},
		{"8080/html", `"8080/html" is no address; for a file: whyinuse ./8080/html`},
		{"example.com", `"example.com" is no address; for a file: whyinuse ./example.com`},
		{"''", `"" is no address; whyinuse -h shows what is`},
		{"udp ''", `"" is no address; whyinuse -h shows what is`},
		{"tcp:", `"" is no address; whyinuse -h shows what is`},
		{":", `":" is no address; whyinuse -h shows what is`},
		{"*", `"*" is no address; whyinuse -h shows what is`},
		{"*:*", `"*" is no port, nor the name of a service`},
		{"@", `"@" is no address; whyinuse -h shows what is`},
		{"http://", `"http://" is no address; whyinuse -h shows what is`},
		{"'a b:80'", `"a b:80" is no address; whyinuse -h shows what is`},
		{"[::1", `::1 has no port: whyinuse [::1]:8080`},
		{"[x]:80", `"[x]:80" is no address; whyinuse -h shows what is`},
		{"[::1]80", `"[::1]80" is no address; whyinuse -h shows what is`},
		{"a:b:80", `"a:b:80" is no address; whyinuse -h shows what is`},
		{"localhost:nosuch", `"nosuch" is no port, nor the name of a service`},
		{":+80", `"+80" is no port, nor the name of a service`},
		{":-80", `"-80" is no port, nor the name of a service`},
		{"sctp", `"sctp" is not supported: tcp, udp and unix are`},
		{"sctp 80", `"sctp" is not supported: tcp, udp and unix are`},
		{"sctp:80", `"sctp" is not supported: tcp, udp and unix are`},
		{"80/sctp", `"sctp" is not supported: tcp, udp and unix are`},
		{"sctp://x:80", `"sctp" is not supported: tcp, udp and unix are`},
		{"tcp5 80", `"tcp5" is not supported: tcp, udp and unix are`},
		{"tcp", `tcp needs an address: whyinuse tcp:8080`},
		{"8080 udp", `udp needs an address: whyinuse udp:53`},
		{"unix", `unix needs an address: whyinuse unix:app.sock`},
		{"~nosuchuser/x", `"~nosuchuser/x": no user is called "nosuchuser"`},
		{"(LISTEN)", `"(LISTEN)" is no address; whyinuse -h shows what is`},
		{"8080 app.sock", `"app.sock" is no address; for a file: whyinuse ./app.sock`},
		{"-wait", `-wait takes a time with its unit: -wait 30s`},
		{"-wait 30 8080", `-wait takes a time with its unit: -wait 30s`},
		{"-wait soon 8080", `-wait takes a time with its unit: -wait 30s`},
		{"-wait 8080", `-wait takes a time with its unit: -wait 30s`},
		{"-wait=-1s 8080", `-wait takes a time with its unit: -wait 30s`},
		{"8080 -wait=", `-wait takes a time with its unit: -wait 30s`},
		{"-wait 30s", `-wait needs an address: whyinuse -wait 30s 8080`},
		{"-x", `unknown option -x; whyinuse -h shows all`},
		{"-8080", `unknown option -8080; whyinuse -h shows all`},
		{"8080 --port=9", `unknown option --port=9; whyinuse -h shows all`},
		{"-json=false 80", `unknown option -json=false; whyinuse -h shows all`},
		{"-- -json", `"-json" is no address; for a file: whyinuse ./-json`},
		{"\x1b[2J", `"\x1b[2J" is no address; whyinuse -h shows what is`},
		{"-\x1b[2J", `unknown option -?[2J; whyinuse -h shows all`},
	} {
		c, err := parseArguments(shellWords(test.args))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: %q, %v\nwant %s", test.args, c.string(), err, test.want)
		}
	}
}

// shellWords splits a line at blanks that are not quoted.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

func (c call) string() string {
	var words, targets []string
	if c.json {
		words = append(words, "json")
	}
	if c.help {
		words = append(words, "help")
	}
	if c.wait > 0 {
		words = append(words, "wait "+strings.TrimSuffix(c.wait.String(), "m0s"))
	}
	for _, t := range c.targets {
		targets = append(targets, t.network+" "+t.address)
	}
	if len(targets) > 0 {
		words = append(words, strings.Join(targets, ", "))
	}
	return strings.Join(words, " ")
}

func TestSubject(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"8080", "port 8080"}, {"tcp4:8080", "port 8080 on IPv4"}, {"0.0.0.0:8080", "port 8080 on IPv4"},
		{"[::]:8080", "port 8080"}, {"tcp6:8080", "port 8080 on IPv6"}, {"udp:53", "UDP port 53"},
		{"localhost:5173", "port 5173 on localhost"}, {"[fe80::1%v0]:80", "port 80 on fe80::1%v0"}, {"/run/x", "/run/x"}, {"@x", "@x"},
	} {
		c, err := parseArguments(strings.Fields(test.args))
		if err != nil || c.targets[0].String() != test.want {
			t.Errorf("%s: %v, %v, want %s", test.args, c.targets, err, test.want)
		}
	}
}

// Whatever is written, it is an address that is read the same way again, or one line.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"8080", "localhost:8080", "http://[::1]:80/x", "tcp:8080", "53/udp", ":::8080", "*:8080", "TCP *:8080 (LISTEN)", "127.0.0.1.8080", "*.*",
		"0.0.0.0:8080->80/tcp", "unix:///run/x", "@x", "~/x", "~", "[", "[]", "[::1", "a:b", "-wait=1s", "->", "/", "://", "tcp:tcp:tcp:", "%", "fe80::1%\x1b:80",
	} {
		f.Add(seed)
	}
	home, _ := os.UserHomeDir()
	f.Fuzz(func(t *testing.T, arg string) {
		c, err := parseArguments([]string{arg})
		if err != nil {
			if s := err.Error(); s == "" || strings.ContainsAny(s, "\n\r") || clean(s) != s {
				t.Errorf("%q: error %q", arg, s)
			}
			return
		}
		for _, target := range c.targets {
			if s := target.String(); s == "" || clean(s) != s {
				t.Errorf("%q: subject %q", arg, s)
			}
			network, supported, _ := networkOf(target.network)
			if !supported || network != target.network || target.address == "" {
				t.Errorf("%q: %+v", arg, target)
			}
			if strings.HasPrefix(target.address, "~") && home != "" {
				continue // of unix:~, a file
			}
			again, err := parse(target.network, target.address)
			if err != nil || again != target {
				t.Errorf("%q: %+v, then %+v, %v", arg, target, again, err)
			}
		}
	})
}
