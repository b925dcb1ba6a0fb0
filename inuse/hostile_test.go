package inuse

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"example.com/reuse/internal/testnet"
)

// hostileNames write to a terminal, forge lines of a log, or hide in them.
var hostileNames = map[string]string{
	"title":         "x\x1b]0;owned\a",
	"colour":        "\x1b[31mx\x1b[0m",
	"C1":            "x\u009b31m\u009d0;owned\u009c", // CSI, OSC and ST, as UTF-8
	"raw C1":        "x\x9b31m\x9d0;owned\x9c",
	"line end":      "x\nTo free it, run this:\n    evil",
	"return":        "x\rPort 80 is free.",
	"tab":           "x\t\v\f\b",
	"NUL":           "x\x00y",
	"delete":        "x\x7f",
	"right to left": "x\u202egpj.exe",
	"isolate":       "x\u2066y\u2069",
	"zero width":    "x\u200by\u200dz\ufeff",
	"separators":    "x\u2028y\u2029z\u0085",
	"no UTF-8":      "x\xc3\x28\xff\xfe\xed\xa0\x80",
	"tags":          "x\U000e0041\U000e007f",
	"long":          strings.Repeat("x\x1b", 500),
}

// notPrintable returns the first character of s that a terminal or a log is not to
// get, besides those of ours.
func notPrintable(s, ours string) (found string, ok bool) {
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size <= 1 || !unicode.IsPrint(r) && !strings.ContainsRune(ours, r) {
			return fmt.Sprintf("%q in %.200q", s[i:i+size], s), true
		}
	}
	return "", false
}

// clone returns a copy of f that shares nothing with it.
func (f finding) clone() finding {
	f.holders = slices.Clone(f.holders)
	for i := range f.holders {
		const most = 6 // more are no other case
		processes := f.holders[i].Processes
		f.holders[i].Processes = slices.Clone(processes[:min(most, len(processes))])
	}
	f.facts, f.unseen, f.hints = maps.Clone(f.facts), slices.Clone(f.unseen), slices.Clone(f.hints)
	f.now = goldenNow
	return f
}

// ourWords are strings that nobody else chooses: those of the kernel's or of this
// package's.
var ourWords = map[string]bool{
	"network": true, "Network": true, "State": true, "cause": true, "call": true, "refusal": true, "kind": true,
	// Of facts.
	"port": true, "net": true, "key": true, "any": true, "n": true, "max": true, "start": true, "range": true,
	"low": true, "high": true, "seconds": true, "reserved": true, "ranges": true,
}

// eachWord calls f with each string below v that somebody else can choose, with the
// name of its field, and stores what f returns.
func eachWord(name string, v reflect.Value, f func(name, word string) string) {
	own := name[strings.LastIndexByte(name, '.')+1:]
	if ourWords[own] {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(f(name, v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			eachWord(name, v.Index(i), f)
		}
	case reflect.Map:
		for _, k := range slices.Sorted(maps.Keys(v.Interface().(facts))) {
			if !ourWords[k] {
				v.SetMapIndex(reflect.ValueOf(k), reflect.ValueOf(f(name+"."+k, v.MapIndex(reflect.ValueOf(k)).String())))
			}
		}
	case reflect.Struct:
		if v.Type().PkgPath() != reflect.TypeFor[finding]().PkgPath() {
			return // netip.AddrPort, time.Time
		}
		for i := range v.NumField() {
			field := v.Field(i)
			if !field.CanSet() {
				field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
			}
			eachWord(name+"."+v.Type().Field(i).Name, field, f)
		}
	}
}

// texts returns everything that a caller gets of e, by its name; those with lines of
// their own begin with "Text".
func texts(t testing.TB, e *Error) map[string]string {
	all := map[string]string{"Error()": e.Error(), "Explanation()": e.Explanation(), "Text()": e.Text()}
	for i, h := range e.Holders {
		all[fmt.Sprintf("Holder %d.String()", i)] = h.String()
		all[fmt.Sprintf("Holder %d.Local", i)] = h.Local.String()
		all[fmt.Sprintf("Holder %d.Remote", i)] = h.Remote.String()
	}
	encoded, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var decoded any
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	var each func(name string, v any)
	each = func(name string, v any) {
		switch v := v.(type) {
		case string:
			all[name] = v
		case []any:
			for i, v := range v {
				each(fmt.Sprint(name, " ", i), v)
			}
		case map[string]any:
			for k, v := range v {
				each(name+"."+k, v)
			}
		}
	}
	each("JSON", decoded)
	return all
}

// checkClean fails the test if anything that a caller gets of e is not printable.
func checkClean(t testing.TB, what string, e *Error) {
	t.Helper()
	for name, text := range texts(t, e) {
		ours := ""
		if name == "Text()" {
			ours = "\n"
		}
		if found, ok := notPrintable(text, ours); ok {
			t.Errorf("%s: %s has %s", what, name, found)
		}
	}
}

// Whatever name anybody has given to anything, a terminal and a log get it without
// what is not printable, whatever the cause.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	places, leaked := map[string]bool{}, false
	for id, situation := range situations {
		for kind, hostile := range hostileNames {
			// One that is not printable is as good as another; but not for lines.
			alone := testnet.Long || kind == "line end"
			var names []string
			all := situation.clone()
			eachWord("finding", reflect.ValueOf(&all).Elem(), func(name, word string) string {
				names = append(names, name)
				places[name] = true
				return hostile
			})
			_, raw := notPrintable(fmt.Sprintf("%+v", all), "")
			leaked = leaked || raw // the control: there is something to clean
			all.attempt.err = errors.New(hostile)
			e := all.error()
			checkClean(t, fmt.Sprintf("%s, %s everywhere", id, kind), e)
			calm := situation.clone()
			if got, most := strings.Count(e.Text(), "\n"), strings.Count(calm.error().Text(), "\n")+2*len(all.holders)+3; got > most {
				t.Errorf("%s, %s: %d lines, at most %d can be ours", id, kind, got, most)
			}
			for i, name := range names {
				if !alone {
					break
				}
				one := situation.clone()
				n := 0
				eachWord("finding", reflect.ValueOf(&one).Elem(), func(_, word string) string {
					n++
					if n == i+1 {
						return hostile
					}
					return word
				})
				checkClean(t, fmt.Sprintf("%s, %s in %s", id, kind, name), one.error())
			}
		}
	}
	if !leaked || len(places) < 20 {
		t.Errorf("the control: %v, %d places: %q", leaked, len(places), slices.Sorted(maps.Keys(places)))
	}
}

// Any user may make a cgroup below its user@.service.
func TestHostileCgroups(t *testing.T) {
	t.Parallel()
	for _, format := range []string{
		"/user.slice/user-1000.slice/user@1000.service/%s", "/user.slice/user-1000.slice/user@1000.service/app.slice/%s.service",
		"/system.slice/%s.service", "/system.slice/%s.socket", "/system.slice/docker-%s.scope", "/machine.slice/libpod-%s.scope",
		"/machine.slice/machine-%s.scope", "/lxc.payload.%s", "/kubepods.slice/cri-containerd-%s.scope",
	} {
		for kind, hostile := range hostileNames {
			for _, name := range []string{hostile, escaped(hostile)} {
				for _, command := range []string{"server", "systemd", "docker-proxy", "conmon"} {
					f := situations["6"].clone()
					f.holders[0].Processes[0] = f.holders[0].Processes[0].in(fmt.Sprintf(format, name))
					f.holders[0].Processes[0].Command = command
					e := f.error()
					checkClean(t, fmt.Sprintf("%s of %s in "+format, kind, command, "NAME"), e)
					// Of a process that is not seen.
					f = situations["1"].clone()
					f.holders[0] = f.holders[0].owned(fmt.Sprintf(format, name))
					e = f.error()
					checkClean(t, fmt.Sprintf("%s of nobody in "+format, kind, "NAME"), e)
				}
			}
		}
	}
}

// escaped returns a name as systemd-escape writes it.
func escaped(name string) string {
	var s strings.Builder
	for i := range len(name) {
		if c := name[i]; c < 0x80 && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c))) {
			s.WriteByte(c)
		} else {
			fmt.Fprintf(&s, `\x%02x`, c)
		}
	}
	return s.String()
}

// Interfaces have names that may be in an address.
func TestHostileZones(t *testing.T) {
	t.Parallel()
	for kind, hostile := range hostileNames {
		for _, id := range []string{"6", "36", "23"} {
			f := situations[id].clone()
			f.attempt.local = at("[fe80::1%" + "x" + "]:80")
			h := &f.holders[0]
			h.Local, h.Remote = zoned(hostile), zoned(hostile)
			f.attempt.local = zoned(hostile)
			checkClean(t, fmt.Sprintf("%s, %s in a zone", id, kind), f.error())
		}
	}
}

func zoned(zone string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(zone), 80)
}

// shellNames mean something to a shell, or to a command.
var shellNames = []string{
	"a b", "a;>owned", "$(>owned)", "`>owned`", "a'b", "a'>owned'", "'", `a"b`, `a\b`, "a&>owned&", "a|b", "a>owned", "#a", "~root", "*", "a[b]c?",
	"{a,b}", "{pid}", "-rf", "--all", "!x", "=a", "a=b", "%1", "é", "a\u00a0b", "ls\u3000-l", "$HOME", "${IFS}", "x\x1b[m", "x\ny", "x\u202ey",
}

// named returns a copy of f with another name in place n. It is not ok if there are
// less. What kind of thing it names stays.
func (f finding) named(n int, name string) (_ finding, place string, ok bool) {
	f = f.clone()
	eachWord("finding", reflect.ValueOf(&f).Elem(), func(at, word string) string {
		switch n--; {
		case n != -1 || strings.HasSuffix(at, ".supervised"): // which is a command
			return word
		case strings.HasPrefix(word, "/"):
			word = "/run/" + name + "/" + name + ".sock"
		default:
			word = name + map[string]string{".service": ".service", ".socket": ".socket"}[path.Ext(word)]
		}
		place, ok = at, true
		return word
	})
	return f, place, ok || n < 0 // of supervised
}

// A command that has a name in it has it as it is, as one word or a part of it, or
// there is no such command.
func TestHostileCommands(t *testing.T) {
	t.Parallel()
	const harmless = "harmless"
	type command struct{ place, name, line, like string }
	var all []command
	for id, situation := range situations {
		for n := 0; ; n++ {
			f, place, ok := situation.named(n, harmless)
			if !ok {
				break
			}
			calm := f.error()
			for i, name := range shellNames {
				if !testnet.Long && (i+n)%4 != 0 {
					continue
				}
				f, _, _ := situation.named(n, name)
				e := f.error()
				if len(e.Remedies) != len(calm.Remedies) {
					t.Errorf("%s, %q in %s: other remedies", id, name, place)
					continue
				}
				for i, r := range e.Remedies {
					// Of another kind is what helps whatever the name is.
					if r.Command != "" && r.Command != calm.Remedies[i].Command && r.Kind == calm.Remedies[i].Kind {
						all = append(all, command{fmt.Sprintf("%s, %s", id, place), name, r.sudo(), calm.Remedies[i].sudo()})
					}
				}
			}
		}
	}
	var lines []string
	for _, c := range all {
		lines = append(lines, c.line, c.like)
	}
	slices.Sort(lines)
	words := shellWords(t, slices.Compact(lines))
	for _, c := range all {
		want := slices.Clone(words[c.like])
		for i := range want {
			want[i] = strings.ReplaceAll(want[i], harmless, c.name)
		}
		if got := words[c.line]; len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s, %q: %s\nhas the words %q, want %q", c.place, c.name, c.line, got, want)
		}
	}
	if len(all) < 100 {
		t.Errorf("only %d commands with a name", len(all))
	}
	t.Logf("%d commands", len(all))
}

// shellWords returns what a shell makes of command lines: the words of all commands
// that it would run, or nothing if it takes the line for wrong. These commands are
// functions here, which do nothing else, and there are no programs.
func shellWords(t testing.TB, lines []string) map[string][]string {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skipf("needs a shell: %v", err)
	}
	var script strings.Builder
	script.WriteString("PATH=/nonexistent\nword() { for w; do printf '\\002%s' \"$w\"; done; }\n")
	programs := map[string]bool{}
	for _, c := range cures {
		program, _, _ := strings.Cut(c.command, " ")
		programs[program] = true
	}
	for _, more := range []string{"awk", "grep", "supervisorctl", "pm2", "sv"} {
		programs[more] = true
	}
	for program := range programs {
		if program != "" && program != "for" {
			fmt.Fprintf(&script, "%[1]s() { word %[1]s \"$@\"; }\n", program)
		}
	}
	script.WriteString("sudo() { word sudo; \"$@\"; }\nsh() { eval \"$2\"; }\n" +
		"for line; do eval \"$line\"; printf '\\003'; done\n")
	words := map[string][]string{}
	dir := t.TempDir()
	var run func(lines []string)
	run = func(lines []string) {
		cmd := exec.Command(sh, append([]string{"-c", script.String(), "sh"}, lines...)...)
		cmd.Dir = dir
		out, err := cmd.Output()
		answers := strings.Split(strings.TrimSuffix(string(out), "\x03"), "\x03")
		switch {
		case err == nil && len(answers) == len(lines):
			for i, line := range lines {
				words[line] = strings.Split(strings.TrimPrefix(answers[i], "\x02"), "\x02")
			}
		case len(lines) > 1: // a wrong one ends the shell
			for _, line := range lines {
				run([]string{line})
			}
		}
	}
	for some := range slices.Chunk(lines, 200) {
		run(some)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("a command wrote the file %s", left[0].Name())
	}
	return words
}

// The control: what is not quoted is found.
func TestShellWords(t *testing.T) {
	t.Parallel()
	words := shellWords(t, []string{"kill 1", "kill a b", "kill 'a b'", "kill 'a", "sudo sh -c 'kill 1 && kill 2'"})
	for line, want := range map[string][]string{
		"kill 1": {"kill", "1"}, "kill a b": {"kill", "a", "b"}, "kill 'a b'": {"kill", "a b"}, "kill 'a": nil,
		"sudo sh -c 'kill 1 && kill 2'": {"sudo", "kill", "1", "kill", "2"},
	} {
		if !slices.Equal(words[line], want) {
			t.Errorf("%s: %q, want %q", line, words[line], want)
		}
	}
}
