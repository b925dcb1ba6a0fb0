package handover_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
)

const nobody = 65534

// A process is a server or a load.
type process struct{ *testnet.Process }

func start(t testing.TB, uid int, program string, args ...string) process {
	t.Helper()
	needDrain(t)
	p := process{testnet.Start(t, uid, program, args...)}
	p.expect(t, "listening", "running")
	return p
}

// expect reads a line, which has to begin with one of words.
func (p process) expect(t testing.TB, words ...string) string {
	t.Helper()
	line := p.Line(t)
	for _, word := range words {
		if strings.HasPrefix(line, word) {
			return line
		}
	}
	t.Fatalf("process %d prints %q, want %q", p.Process.Process.Pid, line, words)
	return ""
}

func (p process) tell(t testing.TB, command string) {
	t.Helper()
	if _, err := io.WriteString(p.In, command+"\n"); err != nil {
		t.Fatal(err)
	}
}

// end closes a server.
func (p process) end(t testing.TB) {
	t.Helper()
	p.tell(t, "close")
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
}

// counts ends a load, and returns what it counted.
func (p process) counts(t testing.TB) (ok, lost, slow int) {
	t.Helper()
	p.In.Close()
	line := p.Line(t)
	if _, err := fmt.Sscan(line, &ok, &lost, &slow); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	return ok, lost, slow
}

// finish ends a load, which may be patient, and then its servers, which answer what
// has arrived. It returns what the load counted.
func (p process) finish(t testing.TB, patient bool, servers ...process) (ok, lost, slow int) {
	t.Helper()
	if patient {
		p.tell(t, "stop")
	} else {
		p.tell(t, "stop at once")
	}
	p.expect(t, "stopped")
	for _, s := range servers {
		s.tell(t, "finish")
	}
	for _, s := range servers {
		if err := s.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	return p.counts(t)
}

// works returns when a server has answered a hundred clients.
func (p process) works(t testing.TB) {
	t.Helper()
	p.tell(t, "work")
	p.expect(t, "worked")
}

// replaced returns what is lost while servers replace each other n times.
func replaced(t testing.TB, drain bool, n int, begin, load func() process) (lost int) {
	t.Helper()
	server := begin()
	clients := load()
	for range n {
		next := begin()
		if drain {
			server.tell(t, "drain")
			server.expect(t, "drained")
		}
		server.end(t)
		server = next
	}
	ok, lost, slow := clients.counts(t)
	server.end(t)
	t.Logf("drain %v, %d restarts: %d connections, %d lost, %d slow", drain, n, ok, lost, slow)
	return lost
}

// needNobody skips the test unless it can start processes as nobody that drain.
func needNobody(t testing.TB) {
	t.Helper()
	needDrain(t)
	if os.Getuid() != nobody {
		testnet.NeedRoot(t)
	}
}

// lossless fails if restarts with Drain lose something, or if those without never
// do: the control.
func lossless(t *testing.T, restarts func(drain bool) (lost int)) {
	t.Helper()
	if lost := restarts(true); lost > 0 {
		t.Errorf("%d lost", lost)
	}
	for range 20 {
		if restarts(false) > 0 {
			return
		}
	}
	t.Error("control: closing without draining loses nothing")
}

// times is how often something is restarted: n times, or twice, so that one who came
// later is replaced, too.
func times(n int) int { return testnet.Rounds(n, min(n, 2)) }

// Servers of an ordinary user are replaced under load, and no connection is
// lost. The control closes without draining, and loses some.
func TestRestart(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	for _, test := range []struct {
		name      string
		server    string // flags
		load      string
		syncookie bool
		long      bool
	}{
		{name: "IPv4", server: "-net tcp4 -addr 127.0.0.1:9999"},
		{name: "IPv4 any", server: "-net tcp4 -addr :9999", long: true},
		{name: "many", server: "-net tcp4 -addr 127.0.0.1:9999", load: fmt.Sprint("-n ", testnet.Rounds(512, 256))},
		{name: "IPv6", server: "-net tcp6 -addr [::1]:9999", load: "-addr [::1]:9999"},
		{name: "IPv6 only", server: "-net tcp6 -addr [::]:9999", load: "-addr [::1]:9999", long: true},
		{name: "dual stack", server: "-net tcp -addr :9999", long: true},
		{name: "dual stack, IPv6 clients", server: "-net tcp -addr :9999", load: "-addr [::1]:9999"},
		{name: "device", server: "-net tcp4 -addr :9999 -device lo"},
		{name: "backlog", server: "-net tcp4 -addr :9999 -backlog 32", load: "-n 32", long: true},
		{name: "deferred", server: "-net tcp4 -addr :9999 -defer 5"},
		{name: "syncookies", server: "-net tcp4 -addr :9999", syncookie: true},
	} {
		if test.long && !testnet.Long {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			if test.syncookie {
				testnet.Sysctl(t, "tcp_syncookies", "2")
			}
			flags := strings.Fields(test.server)
			restarts := func(drain bool) (lost int) {
				server := start(t, nobody, "serve", flags...)
				clients := start(t, nobody, "load", strings.Fields(test.load)...)
				var took []string
				for range times(6) {
					next := start(t, nobody, "serve", flags...)
					server.works(t)
					if drain {
						server.tell(t, "drain")
						line := strings.Fields(server.expect(t, "drained"))
						took = append(took, line[1])
					}
					server.end(t)
					server = next
				}
				ok, lost, slow := clients.counts(t)
				server.end(t)
				t.Logf("drain %v: %d connections, %d lost, %d slow; drain took µs %v", drain, ok, lost, slow, took)
				if ok < 100*times(6) {
					t.Error("too few")
				}
				return lost
			}
			lossless(t, restarts)
		})
	}
}

// A successor that knows nothing of this package gets everything.
func TestPlainSuccessor(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	testnet.Namespace(t)
	restart := func(drain bool) (lost int) {
		server := start(t, nobody, "serve")
		clients := start(t, nobody, "load")
		next := start(t, nobody, "serve", "-plain")
		if drain {
			server.tell(t, "drain")
			server.expect(t, "drained")
		}
		server.end(t)
		_, lost, _ = clients.counts(t)
		next.end(t)
		return lost
	}
	lossless(t, func(drain bool) (lost int) {
		for range 5 {
			lost += restart(drain)
		}
		return lost
	})
}
