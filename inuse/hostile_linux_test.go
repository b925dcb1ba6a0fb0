package inuse_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// hostile begins holder by the command line args[1:]; with the name args[0], if that is
// not "".
func hostile(args []string) error {
	os.Setenv("TESTNET_PROGRAM", "hostileHolder")
	os.Setenv("HOSTILE_COMM", args[0])
	return os.NewSyscallError("execve", unix.Exec("/proc/self/exe", args[1:], os.Environ()))
}

// hostileHolder is what hostile begins.
func hostileHolder([]string) error {
	if comm := os.Getenv("HOSTILE_COMM"); comm != "" {
		if err := os.WriteFile("/proc/self/comm", []byte(comm), 0); err != nil {
			return err
		}
	}
	return holder(nil)
}

// hostileHeard is a process that is refused an address, and prints all texts that this
// package has for that, as JSON.
func hostileHeard(args []string) error {
	_, err := open(args[0], args[1])
	if err == nil {
		return errors.New("it is free")
	}
	e, ok := errors.AsType[*inuse.Error](inuse.ExplainContext(context.Background(), err))
	if !ok {
		return fmt.Errorf("not explained: %w", err)
	}
	checked, err := inuse.Check(context.Background(), args[0], args[1])
	if err != nil {
		return err
	}
	listening, err := inuse.Listening(context.Background())
	if err != nil {
		return err
	}
	texts := map[string]any{"error": e.Error(), "explanation": e.Explanation(), "text": e.Text(), "fields": e, "check": checked.Text(), "check's fields": checked,
		"listening": listening}
	for i, h := range e.Holders {
		texts[fmt.Sprint("holder ", i)] = []string{h.String(), h.Local.String(), h.Path}
	}
	return json.NewEncoder(os.Stdout).Encode(texts)
}

// A hostilePlace is where a name can come from.
type hostilePlace struct {
	name    string
	without string // characters that cannot be in it
	// hold lets a process have an address by a name, and returns what to ask for.
	hold func(t *testing.T, name string) (network, address string)
}

// holdAs lets holder have nines, by the name and the command line.
func holdAs(t *testing.T, comm string, argv ...string) *testnet.Process {
	p := testnet.Start(t, os.Getuid(), "hostile", append([]string{comm}, argv...)...)
	holdMore(t, p, "listen", nines, false, testnet.NoOption)
	return p
}

var hostilePlaces = []hostilePlace{
	{"command", "", func(t *testing.T, name string) (string, string) {
		holdAs(t, name, "")
		return "tcp", nines
	}},
	{"command line", "", func(t *testing.T, name string) (string, string) {
		holdAs(t, "", name)
		return "tcp", nines
	}},
	{"script", "", func(t *testing.T, name string) (string, string) {
		holdAs(t, "", "python3", "/srv/"+name+".py")
		return "tcp", nines
	}},
	{"container", "", func(t *testing.T, name string) (string, string) {
		holdAs(t, "conmon", "conmon", "-n", name)
		return "tcp", nines
	}},
	{"service", "\n", inCgroup("%s.service")},
	{"user's service", "\n", inCgroup("user@1000.service/%s.service")},
	{"scope", "\n", inCgroup("docker-%s.scope")},
	{"user", "\n:", func(t *testing.T, name string) (string, string) {
		mountNamespace(t)
		passwd := filepath.Join(t.TempDir(), "passwd")
		text := fmt.Sprintf("root:x:0:0::/root:/bin/sh\n%s:x:%d:%[2]d::/:/bin/sh\n", name, nobody)
		if err := errors.Join(os.WriteFile(passwd, []byte(text), 0o644), unix.Mount(passwd, "/etc/passwd", "", unix.MS_BIND, "")); err != nil {
			t.Fatal(err)
		}
		hold(t, nobody, "listen", nines, testnet.NoOption)
		return "tcp", nines
	}},
	{"interface", "\n\r\t\v\f /:\u0085\x85\xa0", func(t *testing.T, name string) (string, string) {
		name = name[:min(len(name), 15)]
		ip(t, "link set lo name "+name)
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), name) })
			return errors.Join(err, failed)
		}}
		ln, err := config.Listen(t.Context(), "tcp4", ":9999")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return "tcp", ":9999"
	}},
	{"path", "", func(t *testing.T, name string) (string, string) {
		path := filepath.Join(shortDir(t), name)
		holdUnix(t, os.Getuid(), "unix", path)
		return "unix", path
	}},
	{"stale path", "", func(t *testing.T, name string) (string, string) {
		path := filepath.Join(shortDir(t), name)
		leaveFile(t, path)
		return "unix", path
	}},
	{"directory", "", func(t *testing.T, name string) (string, string) {
		return "unix", filepath.Join(shortDir(t), name, "x.sock")
	}},
	{"abstract path", "", func(t *testing.T, name string) (string, string) {
		name = fmt.Sprintf("@%d-%s", unix.Gettid(), name)
		holdUnix(t, os.Getuid(), "unix", name)
		return "unix", name
	}},
}

// shortDir returns a directory, short enough for a socket's path.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "inuse")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// inCgroup lets a process have nines in a cgroup whose path has the name in it.
func inCgroup(format string) func(t *testing.T, name string) (string, string) {
	return func(t *testing.T, name string) (string, string) {
		mountNamespace(t)
		mount := shortDir(t)
		if err := unix.Mount("none", mount, "cgroup2", 0, ""); err != nil {
			t.Skipf("needs cgroup2: %v", err)
		}
		cgroup, err := os.MkdirTemp(mount, "reuse-hostile-")
		if err != nil {
			t.Skipf("needs to make a cgroup: %v", err)
		}
		dir := filepath.Join(cgroup, fmt.Sprintf(format, name))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		p := testnet.Start(t, os.Getuid(), "holder")
		t.Cleanup(func() { // before the process's own
			p.Process.Kill()
			p.Wait()
			for d := dir; d != mount; d = filepath.Dir(d) {
				os.Remove(d)
			}
			unix.Unmount(mount, unix.MNT_DETACH)
		})
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, p.Process.Pid), 0); err != nil {
			t.Skipf("needs to move a process to a cgroup: %v", err)
		}
		holdMore(t, p, "listen", nines, false, testnet.NoOption)
		return "tcp", nines
	}
}

// What others name so that it writes to a terminal does not, wherever the name is.
func TestHostilePlaces(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	testnet.NeedSocketTypes(t)
	names := map[string]string{ // all begin so that they are seen to be there
		"title": "evil\x1b]0;a\ab", "line end": "evil\nKill it", "C1": "evil\u009b31m", "raw C1": "evil\x9b31m",
		"right to left": "evil\u202eb", "zero width": "evil\u200bb", "return": "evil\rb",
	}
	for _, place := range hostilePlaces {
		for kind, name := range names {
			if strings.ContainsAny(name, place.without) || !testnet.Long && kind != "title" && kind != "raw C1" {
				continue
			}
			t.Run(place.name+" "+kind, func(t *testing.T) {
				t.Parallel()
				testnet.Namespace(t)
				network, address := place.hold(t, name)
				p := testnet.Start(t, os.Getuid(), "hostileHeard", network, address)
				line := p.Line(t)
				var all any
				if err := json.Unmarshal([]byte(line), &all); err != nil {
					t.Fatalf("%v: %q", err, line)
				}
				seen := 0
				eachString("", all, func(at, s string) {
					if strings.Contains(at, "fields.Err.") { // what was explained is as it was
						return
					}
					if at == ".text" || at == ".check" {
						s = strings.ReplaceAll(s, "\n", "")
					}
					if strings.Contains(s, "evil?") {
						seen++
					}
					if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
						t.Errorf("%s is %q", at, s)
					}
				})
				if seen == 0 {
					t.Errorf("the control: the name is nowhere in %s", line)
				}
			})
		}
	}
}

// eachString calls f with all strings of what was JSON, and where they are.
func eachString(at string, v any, f func(at, s string)) {
	switch v := v.(type) {
	case string:
		f(at, v)
	case []any:
		for i, v := range v {
			eachString(fmt.Sprint(at, ".", i), v, f)
		}
	case map[string]any:
		for k, v := range v {
			eachString(at+"."+k, v, f)
		}
	}
}
