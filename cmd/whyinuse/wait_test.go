package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/reuse/inuse"
)

func held(cause inuse.Cause, holders ...inuse.Holder) *inuse.Error {
	return &inuse.Error{Cause: cause, Holders: holders}
}

func hasIt(pid int, name string) inuse.Holder {
	return inuse.Holder{Name: name, State: "LISTEN", Count: 1, Processes: []inuse.Process{{PID: pid, Name: name}}}
}

// What is printed while looks find one thing after the other.
func TestWaitLines(t *testing.T) {
	node, nginx := hasIt(911, "node server.js"), hasIt(1201, "nginx")
	free := held(inuse.CauseFree)
	unseen := inuse.Holder{Name: "a process", User: "root", State: "LISTEN", Count: 1}
	unit := inuse.Holder{Name: "a process", User: "root", Unit: "nginx.service", State: "LISTEN", Count: 1}
	rest := func(d time.Duration) *inuse.Error {
		return held(inuse.CauseLeftover, inuse.Holder{Name: "a connection", State: "TIME_WAIT", Count: int(d / time.Second), Expires: d})
	}
	for _, test := range []struct {
		what, args string
		limit      time.Duration // 0: the last look ends it, or the test has failed
		looks      [][]*inuse.Error
		want       string
		pauses     []time.Duration
		interrupt  bool
	}{
		{what: "free", args: "8080", looks: [][]*inuse.Error{{free}}},
		{what: "it ends", args: "8080", looks: [][]*inuse.Error{{held(inuse.CauseListener, node)}, {free}},
			want: "Waiting 1 h at most for port 8080: node server.js (pid 911) has it.\n", pauses: []time.Duration{time.Second}},
		{what: "another comes", args: "8080", looks: [][]*inuse.Error{{held(inuse.CauseListener, node)}, {held(inuse.CauseListener, node)}, {held(inuse.CauseListener, nginx)}, {free}},
			want: "Waiting 1 h at most for port 8080: node server.js (pid 911) has it.\nPort 8080 is now in use by nginx (pid 1201).\n"},
		{what: "one of two goes", args: "udp:53", looks: [][]*inuse.Error{{held(inuse.CauseListener, node, nginx)}, {held(inuse.CauseListener, nginx)}, {free}},
			want: "Waiting 1 h at most for UDP port 53: node server.js (pid 911) and nginx (pid 1201) have it.\nUDP port 53 is now in use by nginx (pid 1201).\n"},
		{what: "many", args: "80", looks: [][]*inuse.Error{{held(inuse.CauseListener, node, nginx, hasIt(7, "a"), hasIt(8, "b"))}, {free}},
			want: "Waiting 1 h at most for port 80: node server.js (pid 911) and 3 others have it.\n"},
		{what: "not seen", args: "80", looks: [][]*inuse.Error{{held(inuse.CauseHidden, unseen)}, {held(inuse.CauseListener, unit)}, {free}},
			want: "Waiting 1 h at most for port 80: a process of user root has it.\nPort 80 is now in use by nginx.service.\n"},
		{what: "then what is left of it", args: "8080", looks: [][]*inuse.Error{{held(inuse.CauseListener, node)}, {rest(42 * time.Second)}, {rest(2 * time.Second)}, {free}},
			want:   "Waiting 1 h at most for port 8080: node server.js (pid 911) has it.\nPort 8080 is now held by closed connections of a server that has ended.\n",
			pauses: []time.Duration{time.Second, 42 * time.Second, 2 * time.Second}},
		{what: "the address is being checked", args: "[fd00::5]:8080", looks: [][]*inuse.Error{{held(inuse.CauseTentative)}, {free}},
			want: "Waiting 1 h at most for port 8080 on fd00::5: its address is being checked.\n"},
		{what: "not known", args: "8080", looks: [][]*inuse.Error{{held(inuse.CauseUnknown)}, {free}},
			want: "Waiting 1 h at most for port 8080: it is not known whether it is free.\n"},
		{what: "in vain", args: "8080", limit: 30 * time.Second, looks: [][]*inuse.Error{{held(inuse.CauseListener, node)}},
			want: "Waiting 30 s at most for port 8080: node server.js (pid 911) has it.\nPort 8080 is still in use after 30 s.\n"},
		{what: "a path, in vain", args: "/run/x", limit: 90 * time.Second, looks: [][]*inuse.Error{{held(inuse.CauseListener, node)}},
			want: "Waiting 90 s at most for /run/x: node server.js (pid 911) has it.\n/run/x is still in use after 90 s.\n"},
		{what: "tentative, in vain", args: "[fd00::5]:8080", limit: 2 * time.Minute, looks: [][]*inuse.Error{{held(inuse.CauseTentative)}},
			want: "Waiting 2 min at most for port 8080 on fd00::5: its address is being checked.\nPort 8080 on fd00::5 still cannot be used after 2 min.\n"},
		{what: "interrupted", args: "8080", looks: [][]*inuse.Error{{held(inuse.CauseListener, node)}}, interrupt: true,
			want: "Waiting 1 h at most for port 8080: node server.js (pid 911) has it.\nPort 8080 is still in use; waiting was interrupted.\n"},
		{what: "it does not end", args: "80", looks: [][]*inuse.Error{{held(inuse.CausePrivileged)}}, want: "Not waiting: this does not end by itself.\n"},
		{what: "first it ends", args: "80", looks: [][]*inuse.Error{{held(inuse.CauseListener, node)}, {held(inuse.CausePrivileged)}},
			want: "Waiting 1 h at most for port 80: node server.js (pid 911) has it.\nNot waiting: this does not end by itself.\n"},
		{what: "several", args: "80 81", looks: [][]*inuse.Error{
			{held(inuse.CauseListener, node), free}, {held(inuse.CauseListener, node), held(inuse.CauseListener, nginx)}, {free, held(inuse.CauseListener, nginx)}, {free, free}},
			want: "Waiting 1 h at most for port 80: node server.js (pid 911) has it.\nWaiting 1 h at most for port 81: nginx (pid 1201) has it.\n"},
		{what: "several, one in vain", args: "80 81 82", limit: 30 * time.Second, looks: [][]*inuse.Error{{held(inuse.CauseStale), held(inuse.CauseListener, node), free}},
			want: "Not waiting for port 80: this does not end by itself.\nWaiting 30 s at most for port 81: node server.js (pid 911) has it.\nPort 81 is still in use after 30 s.\n"},
		{what: "a wrong host", args: "nosuchhost:80", looks: [][]*inuse.Error{{nil}}},
	} {
		c, err := parseArguments(strings.Fields(test.args))
		if err != nil {
			t.Fatal(err)
		}
		ctx, interrupt := context.WithCancel(t.Context())
		var out bytes.Buffer
		var pauses []time.Duration
		round, n := 0, 0
		now := time.Unix(0, 0)
		w := waiter{limit: test.limit, tick: time.Second, progress: &out, now: func() time.Time { return now }}
		w.look = func(_ context.Context, to target) result {
			errs := test.looks[min(round, len(test.looks)-1)]
			e := errs[n%len(errs)]
			n++
			if e == nil {
				return result{target: to, err: problem("no host is called so")}
			}
			return result{target: to, e: e}
		}
		w.pause = func(_ context.Context, pids []int, d time.Duration) {
			round++
			pauses = append(pauses, d)
			now = now.Add(d)
			if test.interrupt {
				interrupt()
			}
		}
		if w.limit == 0 {
			w.limit = time.Hour
		}
		results := w.wait(ctx, c.targets)
		interrupt()
		if out.String() != test.want {
			t.Errorf("%s:\n%swant\n%s", test.what, &out, test.want)
		}
		if test.pauses != nil && !slices.Equal(pauses, test.pauses) {
			t.Errorf("%s: pauses %v, want %v", test.what, pauses, test.pauses)
		}
		last := test.looks[len(test.looks)-1]
		for i, r := range results {
			if r.e != last[i] {
				t.Errorf("%s: result %d is %v", test.what, i, r)
			}
		}
		if test.limit == 0 && !test.interrupt && round != len(test.looks)-1 {
			t.Errorf("%s: %d looks", test.what, round+1)
		}
	}
}

// Which causes are worth a wait: all that may end by themselves, or by what others do.
func TestWaits(t *testing.T) {
	for cause, want := range map[inuse.Cause]bool{
		inuse.CauseFree: false, inuse.CauseSelf: true, inuse.CauseListener: true, inuse.CauseKernel: true, inuse.CauseHidden: true,
		inuse.CauseLeftover: true, inuse.CauseConnection: true, inuse.CauseTentative: true, inuse.CauseNoLink: true,
		inuse.CauseExhausted: true, inuse.CauseUnknown: true, inuse.CauseStalePerhaps: true,
		inuse.CausePrivileged: false, inuse.CauseForbidden: false, inuse.CauseNotLocal: false, inuse.CauseNoZone: false, inuse.CauseWrongZone: false,
		inuse.CauseDuplicate: false, inuse.CauseIPv6Off: false, inuse.CausePathTooLong: false, inuse.CauseNoDirectory: false,
		inuse.CauseDirectoryDenied: false, inuse.CauseFileSystem: false, inuse.CauseNotSocket: false, inuse.CauseStale: false,
	} {
		if got := (result{e: held(cause)}).waits(); got != want {
			t.Errorf("%s: %v, want %v", cause, got, want)
		}
	}
	if (result{err: problem("x")}).waits() {
		t.Error("a wrong call is waited for")
	}
}

func TestPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond: "1 ms", 500 * time.Microsecond: "0.5 ms", time.Second: "1 s", 30 * time.Second: "30 s", 90 * time.Second: "90 s",
		1500 * time.Millisecond: "1.5 s", time.Minute: "60 s", 2 * time.Minute: "2 min", time.Hour: "1 h", 90 * time.Minute: "90 min",
	} {
		if got := people(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
