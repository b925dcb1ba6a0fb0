package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
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

// never is a tick, or a limit, at whose end the test has failed.
const never = time.Hour

// await is waitFor, which has to end.
func await(t testing.TB, address string, limit, tick time.Duration, progress io.Writer) *inuse.Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	to, err := parse([]string{address})
	if err != nil {
		t.Fatal(err)
	}
	r, err := waitFor(ctx, to, limit, tick, progress)
	if err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	return r
}

// The end of the holder is seen without a tick.
func TestWaitForExit(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	told := 0
	r := await(t, "127.0.0.1:9999", never, never, lines(func(n int, line string) {
		told = n
		if !strings.HasPrefix(line, "waiting: tcp 127.0.0.1:9999 is in use: ") || !strings.Contains(line, fmt.Sprintf("(pid %d)", p.Process.Pid)) {
			t.Errorf("line %q", line)
		}
		p.Process.Kill() // not waited for, so that its pid stays
	}))
	if !free(r) || told != 1 {
		t.Errorf("%v, after %d lines", r, told)
	}
	told = 0
	if r := await(t, "127.0.0.1:9999", never, never, lines(func(n int, _ string) { told = n })); !free(r) || told != 0 {
		t.Errorf("a free port: %v, %d lines", r, told)
	}
}

// A holder that closes its socket and stays is seen at the next tick.
func TestWaitForClose(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	p := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	r := await(t, "127.0.0.1:9999", never, time.Millisecond, lines(func(int, string) { do(t, p, "close") }))
	if !free(r) {
		t.Error(r)
	}
	do(t, p, "nothing") // it lives
}

// The control: nobody ends. Many looks see the same, which is told once.
func TestWaitInVain(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
	told := 0
	r := await(t, "127.0.0.1:9999", 200*time.Millisecond, time.Millisecond, lines(func(n int, _ string) { told = n }))
	if r.Cause != inuse.CauseListener || told != 1 {
		t.Errorf("%v, after %d lines", r, told)
	}
}

// Each change of the holders is told.
func TestWaitProgress(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	stays := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "port")
	goes := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "port")
	has := func(line string, p *testnet.Process) bool {
		return strings.Contains(line, fmt.Sprintf("(pid %d)", p.Process.Pid))
	}
	var told []string
	r := await(t, "127.0.0.1:9999", never, never, lines(func(n int, line string) {
		told = append(told, line)
		switch {
		case n == 1:
			goes.Process.Kill()
		case has(line, stays) && strings.Count(line, "(pid ") == 1:
			stays.Process.Kill()
		}
	}))
	if !free(r) || len(told) < 2 || !has(told[0], stays) || !has(told[0], goes) ||
		!slices.ContainsFunc(told[1:], func(line string) bool { return has(line, stays) && !has(line, goes) }) ||
		len(slices.Compact(slices.Clone(told))) != len(told) {
		t.Errorf("%v, after %q", r, told)
	}
}

// The program itself waits, until its holder ends or it is interrupted.
func TestWaitProcess(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	for _, interrupt := range []bool{false, true} {
		holder := hold(t, os.Getuid(), "tcp4", "127.0.0.1:9999", "none")
		p := testnet.Start(t, os.Getuid(), "whyinuse 2>&1", "-wait", "1h", "tcp4", "127.0.0.1:9999")
		if line := p.Line(t); !strings.HasPrefix(line, "waiting: ") {
			t.Fatalf("line %q", line)
		}
		want, code := "tcp4 127.0.0.1:9999 is free", exitFree
		if interrupt {
			want, code = "tcp4 127.0.0.1:9999 is in use: a live socket has it", exitInUse
			if err := p.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		} else {
			holder.Stop(t)
		}
		if got, lines := p.End(t); got != code || len(lines) == 0 || lines[0] != want {
			t.Errorf("interrupt %v: exit code %d, %q", interrupt, got, lines)
		}
		holder.Process.Kill()
		holder.Wait()
	}
}

// With -json, progress is apart from the object.
func TestWaitJSON(t *testing.T) {
	testnet.NeedTables(t)
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
	for _, state := range []testnet.State{testnet.TimeWait, testnet.FinWait2, testnet.Established} {
		t.Run(state.String(), func(t *testing.T) {
			testnet.Namespace(t)
			ln, err := addr.config().Listen(t.Context(), "tcp", "127.0.0.1:9999")
			if err != nil {
				t.Fatal(err)
			}
			testnet.Leave(t, ln, "127.0.0.1:9999", state)
			to, err := parse([]string{"9999"})
			if err != nil {
				t.Fatal(err)
			}
			r, err := to.look(t.Context())
			if err != nil || len(r.Holders) != 1 {
				t.Fatal(r, err)
			}
			d, known := due(r.Holders)
			if known != (state == testnet.TimeWait) || known && (d <= 0 || d > time.Minute) {
				t.Errorf("due in %v, %v", d, known)
			}
			later := r.Holders[0]
			later.Expires += time.Hour
			if d, known := due(append(r.Holders, later)); known && d != later.Expires {
				t.Errorf("due in %v, want that of the last", d)
			}
		})
	}
	if _, known := due(nil); known {
		t.Error("nobody's end is known")
	}
}
