package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"example.com/reuse/internal/testnet"
)

// A golden is a situation of golden.txt, and what is to be printed in it.
type golden struct {
	id, title string
	asked     string // "alice: :80"
	code      int
	cause     string
	kinds     []string // of the remedies
	text      string
}

// goldens reads golden.txt, in its order.
func goldens(t testing.TB) (all []golden) {
	t.Helper()
	file, err := os.ReadFile("../../inuse/testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq("\n"+string(file), "\n#") {
		head, rest, _ := strings.Cut(part, "\n")
		fields := strings.Split(head, " | ")
		if len(fields) != 5 {
			continue
		}
		g := golden{asked: fields[1]}
		g.id, g.title, _ = strings.Cut(fields[0], " ")
		g.code, _ = strconv.Atoi(strings.TrimPrefix(fields[2], "exit "))
		var kinds string
		g.cause, kinds, _ = strings.Cut(fields[3], ": ")
		if kinds != "-" {
			g.kinds = strings.Split(kinds, ", ")
		}
		g.text, _, _ = strings.Cut(rest, ">> ")
		all = append(all, g)
	}
	return all
}

// onlyData are the situations that no test makes for real, and why.
var onlyData = map[string]string{
	"30":  "of Explain: package inuse makes it",
	"30c": "of Explain: package inuse makes it",
	"37":  "needs a kernel with SELinux, and a policy",
}

// quick are the situations that are made in every run of the tests.
var quick = []string{"1", "3b", "7", "9", "18", "23", "31b", "33b", "36", "38", "39b", "48", "52"}

// scenes make the situations of golden.txt.
var scenes = merged(holderScenes, addressScenes)

func merged(all ...map[string]func(*scene)) map[string]func(*scene) {
	one := map[string]func(*scene){}
	for _, scenes := range all {
		maps.Copy(one, scenes)
	}
	return one
}

// TestGolden makes the situations of golden.txt for real, compares what whyinuse prints
// with the text, and does what it advises.
func TestGolden(t *testing.T) {
	testnet.NeedNative(t)
	var mu sync.Mutex
	table := map[string]string{}
	all := goldens(t)
	t.Run("scenes", func(t *testing.T) {
		for _, g := range all {
			make, ok := scenes[g.id]
			if _, known := onlyData[g.id]; known == ok {
				t.Errorf("situation %s: made for real is %v, and only data %v", g.id, ok, known)
			}
			if !ok || !testnet.Long && !slices.Contains(quick, g.id) {
				continue
			}
			t.Run(g.id+" "+g.title, func(t *testing.T) {
				testnet.Parallel(t)
				var s *scene
				defer func() {
					said := "skipped"
					switch {
					case t.Failed():
						said = "failed"
					case !t.Skipped():
						said = "real; " + strings.Join(s.notes, "; ")
					}
					mu.Lock()
					defer mu.Unlock()
					table[g.id] = said
				}()
				s = newScene(t, g)
				make(s)
				s.compare()
			})
		}
	})
	var lines strings.Builder
	for _, g := range all {
		said := table[g.id]
		if why, ok := onlyData[g.id]; ok {
			said = "only data: " + why
		}
		if said != "" {
			fmt.Fprintf(&lines, "%-4s %-60s %s\n", g.id, g.title, said)
		}
	}
	t.Logf("situations:\n%s", &lines)
	for id := range maps.Keys(scenes) {
		if !slices.ContainsFunc(all, func(g golden) bool { return g.id == id }) {
			t.Errorf("situation %s is not in golden.txt", id)
		}
	}
}

var (
	agePattern  = regexp.MustCompile(`(started|created) \d+ (s|min|h|day|days) ago`)
	wrapPattern = regexp.MustCompile(`,\n    `)
	wordPattern = regexp.MustCompile(`^\w|\w$`)
)

// plain returns a text without ages and line ends that depend on the length of names.
func plain(text string) string {
	return wrapPattern.ReplaceAllString(agePattern.ReplaceAllString(text, "$1 AGE ago"), ", ")
}

// want returns what is to be printed, where got is.
func (s *scene) want(got string) string {
	s.Helper()
	words := maps.Clone(s.words)
	for _, n := range s.numbers {
		found := n.at.FindStringSubmatch(got)
		if found == nil {
			s.Errorf("no number %s", n.at)
			continue
		}
		if value, _ := strconv.Atoi(found[1]); value < n.low || value > n.high {
			s.Errorf("%d is not from %d to %d", value, n.low, n.high)
		}
		words[n.golden] = found[1]
	}
	if len(words) == 0 {
		return plain(s.golden.text)
	}
	// All at once, the longest first, and only as words.
	var patterns []string
	for _, word := range slices.SortedFunc(maps.Keys(words), func(a, b string) int { return len(b) - len(a) }) {
		pattern := regexp.QuoteMeta(word)
		if wordPattern.MatchString(word[:1]) {
			pattern = `\b` + pattern
		}
		if wordPattern.MatchString(word[len(word)-1:]) {
			pattern += `\b`
		}
		patterns = append(patterns, pattern)
	}
	pattern := regexp.MustCompile(strings.Join(patterns, "|"))
	return plain(pattern.ReplaceAllStringFunc(s.golden.text, func(word string) string { return words[word] }))
}

// compare asks, compares, and does what is advised.
func (s *scene) compare() {
	s.Helper()
	code, got := s.ask(s.args...)
	if want := s.want(got); plain(got) != want || code != s.golden.code {
		s.Errorf("exit code %d, want %d; prints\n%swant\n%s", code, s.golden.code, plain(got), want)
	}
	s.checkShape(got)
	o := s.object(s.ask(append([]string{"-json"}, s.args...)...))
	if string(o.Cause) != s.golden.cause {
		s.Errorf("cause %s, want %s", o.Cause, s.golden.cause)
	}
	var kinds []string
	for _, r := range o.Remedies {
		kinds = append(kinds, r.Kind)
	}
	if !slices.Equal(kinds, s.golden.kinds) {
		s.Errorf("remedies %s, want %s", kinds, s.golden.kinds)
	}
	if !s.Failed() {
		s.heed(o)
	}
}

// object reads one object.
func (s *scene) object(code int, text string) (o object) {
	s.Helper()
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		s.Fatalf("exit code %d, %v: %s", code, err, text)
	}
	checkSchema(s, text)
	return o
}

// checkShape checks how a text is laid out.
func (s *scene) checkShape(text string) {
	s.Helper()
	const width, most = 100, 8
	if n := strings.Count(text, "\n"); n > most {
		s.Errorf("%d lines", n)
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if n := len([]rune(line)); n > width {
			s.Errorf("%d columns: %s", n, line)
		}
		if strings.HasSuffix(line, ",") {
			if whole := line + " " + strings.TrimSpace(lines[i+1]); len([]rune(whole)) <= width {
				s.Errorf("broken without need: %s", whole)
			}
		}
	}
}

// heed does what is advised, and sees whether it helps.
func (s *scene) heed(o object) {
	s.Helper()
	network, address := s.target()
	if o.Free != nil && *o.Free {
		s.passes(s.binder, network, address)
		s.note("it can be bound")
		return
	}
	if o.Free != nil {
		s.fails(s.asker, network, address)
	}
	s.o = o
	if s.before != nil {
		s.before()
	}
	if s.again {
		o = s.object(s.ask(append([]string{"-json"}, s.args...)...))
	}
	for looks := 0; ; looks++ {
		i := slices.IndexFunc(o.Remedies, func(r remedy) bool { return r.Command != "" && (s.applies == "" || r.Kind == s.applies) })
		if i < 0 {
			break
		}
		r := o.Remedies[i]
		uid := s.asker
		if r.NeedsRoot || looks > 0 || s.standInsAsRoot {
			uid = 0
		}
		code, out := s.shell(uid, r.Command)
		if !strings.HasPrefix(r.Kind, "look-") {
			s.note("%s", r.Command)
			if finds := strings.HasPrefix(r.Kind, "find-"); code != 0 && !finds {
				s.Errorf("%s: exit code %d", r.Command, code)
			}
			break
		}
		s.note("%s", r.Command)
		if s.by != "" && !strings.Contains(out, s.by) || out == o.Text {
			s.Errorf("%s: exit code %d, not %q:\n%s", r.Command, code, s.by, out)
		}
		if looks > 0 {
			s.Fatalf("it does not end:\n%s", out)
		}
		o = s.object(s.rootAsks(append([]string{"-json"}, s.args...)...))
	}
	if s.last != nil {
		s.last()
	}
	if s.right != "" {
		s.passes(s.binder, network, s.right)
		s.note("%s can be bound", s.right)
		return
	}
	if code, text := s.rootAsks(append([]string{"-wait", cmp.Or(s.patience, "20s")}, s.args...)...); code != exitFree {
		s.Errorf("the advice does not help:\n%s", text)
	}
	s.passes(s.binder, network, address)
	if len(s.notes) == 0 {
		s.note("it can be bound at last")
	}
}

// target returns what is asked about, as package net takes it.
func (s *scene) target() (network, address string) {
	s.Helper()
	if s.at != "" {
		return "tcp", s.at
	}
	c, err := parseArguments(s.args)
	s.must(err)
	network, address = c.targets[0].network, c.targets[0].address
	if strings.HasPrefix(address, "0.0.0.0:") {
		network += "4"
	}
	return network, address
}

// container returns the id of a container, and the name of its cgroup.
func container(n int) (id, unit string) {
	id = fmt.Sprintf("4f2a9c1b2%03x", n)
	return id, "docker-" + id + strings.Repeat("0", 52) + ".scope"
}

// leave makes a file at a path, as a server leaves it that is killed.
func (s *scene) leave(path string) {
	s.Helper()
	p := s.plays(role{name: "server", steps: []string{"unix " + path}})
	s.must(os.Chmod(path, 0o755))
	p.end()
}
