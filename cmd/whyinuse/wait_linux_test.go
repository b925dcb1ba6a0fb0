package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
)

// lines calls f at each line of progress, with its number.
func lines(f func(n int, line string)) io.Writer {
	n := 0
	return writer(func(p []byte) {
		n++
		f(n, string(p))
	})
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// forever is a tick, or a limit, at whose end the test has failed.
const forever = time.Hour

// await waits for one address, which has to end.
func await(t testing.TB, address string, limit, tick time.Duration, progress io.Writer) *inuse.Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	c, err := parseArguments([]string{address})
	if err != nil {
		t.Fatal(err)
	}
	w := newWaiter(limit, progress)
	w.tick = tick
	r := w.wait(ctx, c.targets)[0]
	if r.err != nil || ctx.Err() != nil {
		t.Fatal(r.err, ctx.Err())
	}
	return r.e
}

// The end of the holder is seen without a tick.
func TestWaitForExit(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	told := 0
	before := testnet.Descriptors(t)
	e := await(t, "127.0.0.1:9999", forever, forever, lines(func(n int, line string) {
		told = n
		if !strings.HasPrefix(line, "Waiting 1 h at most for port 9999 on 127.0.0.1: ") || !strings.HasSuffix(line, fmt.Sprintf(" (pid %d) has it.\n", p.Process.Pid)) {
			t.Errorf("line %q", line)
		}
		p.Process.Kill() // not waited for, so that its pid stays
	}))
	if e.Cause != inuse.CauseFree || told != 1 {
		t.Errorf("%v, after %d lines", e, told)
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	told = 0
	if e := await(t, "127.0.0.1:9999", forever, forever, lines(func(n int, _ string) { told = n })); e.Cause != inuse.CauseFree || told != 0 {
		t.Errorf("a free port: %v, %d lines", e, told)
	}
}

// A holder that closes its socket and stays is seen at the next tick.
func TestWaitForClose(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	e := await(t, "127.0.0.1:9999", forever, time.Millisecond, lines(func(int, string) { do(t, p, "close") }))
	if e.Cause != inuse.CauseFree {
		t.Error(e)
	}
	do(t, p, "nothing") // it lives
}

// The control: nobody ends. Many looks see the same, which is told once.
func TestWaitInVain(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	var told []string
	e := await(t, "127.0.0.1:9999", 100*time.Millisecond, time.Millisecond, lines(func(_ int, line string) { told = append(told, line) }))
	if e.Cause != inuse.CauseListener || len(told) != 2 || told[1] != "Port 9999 on 127.0.0.1 is still in use after 100 ms.\n" {
		t.Errorf("%v, after %q", e, told)
	}
}

// Each change of the holders is told.
func TestWaitProgress(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	first := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "port")
	second := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "port")
	ps := []*testnet.Process{first, second}
	has := func(line string, p *testnet.Process) bool {
		return strings.Contains(line, fmt.Sprintf("(pid %d)", p.Process.Pid))
	}
	var told []string
	e := await(t, "127.0.0.1:9999", forever, forever, lines(func(n int, line string) {
		told = append(told, line)
		for _, p := range ps { // the one of which the first line tells, then the other
			if has(line, p) {
				p.Process.Kill()
				break
			}
		}
	}))
	if e.Cause != inuse.CauseFree || len(told) == 0 || !has(told[0], first) || !has(told[0], second) {
		t.Errorf("%v, after %q", e, told)
	}
	for _, line := range told[1:] {
		if !strings.HasPrefix(line, "Port 9999 on 127.0.0.1 is now in use by ") || has(line, first) {
			t.Errorf("line %q", line)
		}
	}
}

// The program itself waits, until its holder ends or it is interrupted.
func TestWaitProcess(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	for _, interrupt := range []bool{false, true} {
		holder := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
		p := testnet.Start(t, os.Getuid(), "whyinuse 2>&1", "-wait", "1h", "tcp4", "127.0.0.1:9999")
		if line := p.Line(t); !strings.HasPrefix(line, "Waiting 1 h at most for port 9999 on 127.0.0.1: ") {
			t.Fatalf("line %q", line)
		}
		want, code := []string{"Port 9999 on 127.0.0.1 is free."}, exitFree
		if interrupt {
			want, code = []string{"Port 9999 on 127.0.0.1 is still in use; waiting was interrupted.", "Port 9999 on 127.0.0.1 is in use by "}, exitInUse
			if err := p.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		} else {
			holder.Stop(t)
		}
		got, lines := p.End(t)
		if got != code || len(lines) < len(want) {
			t.Fatalf("interrupt %v: exit code %d, %q", interrupt, got, lines)
		}
		for i, line := range want {
			if !strings.HasPrefix(lines[i], line) {
				t.Errorf("interrupt %v: %q, want %q", interrupt, lines[i], line)
			}
		}
		holder.Process.Kill()
		holder.Wait()
	}
}

// With -json, progress is apart from the object.
func TestWaitJSON(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	var stdout bytes.Buffer
	code := run(t.Context(), []string{"-json", "-wait", "1h", "127.0.0.1:9999"}, &stdout, lines(func(int, string) { p.Process.Kill() }))
	want(t, parsed(t, code, stdout.String()), "free", 0)
}

// A connection in TIME_WAIT is waited for as long as it stays, all others for a
// tick.
func TestDue(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Parallel(t)
	for _, state := range []testnet.State{testnet.TimeWait, testnet.FinWait2, testnet.Established} {
		t.Run(state.String(), func(t *testing.T) {
			testnet.Namespace(t)
			ln, err := addr.config().Listen(t.Context(), "tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", state)
			r := target{"tcp", ":9999"}.look(t.Context())
			if r.err != nil || len(r.e.Holders) != 1 {
				t.Fatal(r.e, r.err)
			}
			d, known := due(r.e.Holders)
			if known != (state == testnet.TimeWait) || known && (d <= 0 || d > time.Minute) {
				t.Errorf("due in %v, %v", d, known)
			}
			later := r.e.Holders[0]
			later.Expires += time.Hour
			if d, known := due(append(r.e.Holders, later)); known && d != later.Expires {
				t.Errorf("due in %v, want that of the last", d)
			}
		})
	}
	if _, known := due(nil); known {
		t.Error("nobody's end is known")
	}
}
