package handover_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// The old process is killed, or stopped for a while, at every step of a handover:
// before a system call of Drain and Close. Then all who connect are answered, by
// the survivor at once; those who connected to a process that was stopped, when it
// goes on. The next handovers lose nothing either.
func TestOldAtEveryStep(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedArguments(t)
	for kind := range scarceKinds {
		t.Run(kind, func(t *testing.T) { oldAtEveryStep(t, kind) })
	}
}

func oldAtEveryStep(t *testing.T, kind string) {
	testnet.Namespace(t)
	needDrain(t)
	_, draining, closing := countSteps(t, kind)
	server := start(t, ordinary(), "serve kind", kind)
	ends := map[string]int{}
	// Most are look-ups of twins, in the middle.
	steps := someSteps(draining, testnet.Rounds(14, 4))
	if testnet.Long {
		for i := range 6 {
			steps = append(steps, 2+i, draining-1-i)
		}
	}
	for i := range closing {
		steps = append(steps, draining+1+i)
	}
	for i, at := range steps {
		signal := []unix.Signal{unix.SIGKILL, unix.SIGSTOP}[i%2]
		old := startStepped(t, kind, signal, at, "drain")
		old.expect(t, "listening")
		server.replaceBy(t, kind, old)
		next := start(t, ordinary(), "serve kind", kind)
		old.tell(t, "drain")
		line, during := old.expect(t, "step", "drained"), "Drain"
		if strings.HasPrefix(line, "drained") {
			during = "Close"
			old.tell(t, "close")
			if line = old.expect(t, "step", "calls"); strings.HasPrefix(line, "calls") {
				old.Wait()
				during = "nothing"
			}
		}
		ends[fmt.Sprint(signal, " in ", during)]++
		switch {
		case during == "nothing":
		case signal == unix.SIGKILL:
			old.Wait()
			serves(t, kind, next)
		case during == "Close" && !old.stoppedOrEnded(t):
			ends["ended before "+signal.String()]++
			serves(t, kind, next)
		default:
			if during == "Drain" {
				old.stopped(t)
			}
			heard := connects(t, kind, 10)
			old.signal(t, unix.SIGCONT)
			if during == "Drain" {
				old.expect(t, "drained")
				old.tell(t, "close") // it ends when the clients have closed
			}
			for _, pid := range heard() {
				if pid != next.pid() && (pid != old.pid() || during == "Close") {
					t.Errorf("stopped in %s at %q: %d answers", during, line, pid)
				}
			}
			old.expect(t, "calls")
			if err := old.Wait(); err != nil {
				t.Error(err)
			}
			serves(t, kind, next)
		}
		server = next
		if t.Failed() {
			t.Fatalf("%v, in %s, at %q", signal, during, line)
		}
	}
	server.end(t)
	t.Logf("of %d calls in Drain and %d in Close: %v", draining, closing, ends)
}

// The same for the successor, until it listens.
func TestSuccessorAtEveryStep(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedArguments(t)
	for kind := range scarceKinds {
		t.Run(kind, func(t *testing.T) { successorAtEveryStep(t, kind) })
	}
}

func successorAtEveryStep(t *testing.T, kind string) {
	testnet.Namespace(t)
	needDrain(t)
	calls, _, _ := countSteps(t, kind)
	server := start(t, ordinary(), "serve kind", kind)
	ends := map[string]int{}
	for i, at := range someSteps(calls, testnet.Rounds(16, 4)) {
		signal := []unix.Signal{unix.SIGKILL, unix.SIGSTOP}[i%2]
		next := startStepped(t, kind, signal, at, "listen")
		line := next.expect(t, "step", "listening")
		switch {
		case strings.HasPrefix(line, "listening"):
			ends["nothing"]++
		case signal == unix.SIGKILL:
			next.Wait()
			ends["killed"]++
			serves(t, kind, server)
			next = start(t, ordinary(), "serve kind", kind)
		default:
			next.stopped(t)
			heard := connects(t, kind, 10)
			server.tell(t, "drain")
			next.signal(t, unix.SIGCONT)
			next.expect(t, "listening")
			said := outcomeOf(server.expect(t, "drained", "alone"))
			ends["stopped, "+said]++
			for _, pid := range heard() {
				if pid != server.pid() && pid != next.pid() {
					t.Errorf("%d answers", pid)
				}
			}
		}
		server = server.replaceBy(t, kind, next)
		if t.Failed() {
			t.Fatalf("%v, at %q", signal, line)
		}
	}
	server.end(t)
	t.Logf("of %d calls: %v", calls, ends)
}

func outcomeOf(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}
