package handover_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
)

// ask connects once, and returns the process that answers.
func ask(t testing.TB, addr string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(guard))
	return hear(t, conn)
}

func hear(t testing.TB, conn net.Conn) int {
	t.Helper()
	io.WriteString(conn, "x")
	line, err := bufio.NewReader(conn).ReadString('\n')
	pid, err2 := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return pid
}

// shares asks often, and returns who answered how often.
func shares(t testing.TB, addr string) map[int]int { return sharesOf(t, addr, 200) }

// sharesOf asks n times.
func sharesOf(t testing.TB, addr string, n int) map[int]int {
	t.Helper()
	pids := map[int]int{}
	for range n {
		pids[ask(t, addr)]++
	}
	return pids
}

func (p process) pid() int { return p.Process.Process.Pid }

const addr = "127.0.0.1:9999"

// Nobody else: the listener says so, and serves on.
func TestAlone(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	server := start(t, os.Getuid(), "serve")
	for range 3 {
		server.tell(t, "drain")
		server.expect(t, "alone")
		if pid := ask(t, addr); pid != server.pid() {
			t.Errorf("%d answers", pid)
		}
	}
	server.end(t)
}

// After Drain only the others get connections, each its share. Without it the
// drained one gets its share, too: the control.
func TestSteered(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	var servers []process
	for range 4 {
		servers = append(servers, start(t, os.Getuid(), "serve"))
	}
	for i := range servers {
		if got := shares(t, addr); len(got) != len(servers)-i {
			t.Errorf("control: %d of %d have a share: %v", len(got), len(servers)-i, got)
		}
		if i == len(servers)-1 {
			break
		}
		servers[i].tell(t, "drain")
		servers[i].expect(t, "drained")
		if got := shares(t, addr); len(got) != len(servers)-i-1 || got[servers[i].pid()] > 0 {
			t.Errorf("after Drain of %d: %v", servers[i].pid(), got)
		}
		servers[i].end(t)
	}
}

// Once a drained listener is closed the others have equal shares, and whoever
// joins later has one as well: no program is left that says otherwise.
func TestNoProgramLeft(t *testing.T) {
	testnet.Parallel(t)
	for _, order := range [][]int{{0, 1}, {1, 0}, {2, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			testnet.Namespace(t)
			servers := []process{start(t, os.Getuid(), "serve"), start(t, os.Getuid(), "serve"), start(t, os.Getuid(), "serve")}
			for _, i := range order {
				servers[i].tell(t, "drain")
				servers[i].expect(t, "drained")
				servers[i].end(t)
				// All that are left: whoever it is, the slots changed.
				want := 2
				if i == order[1] {
					want = 1
				}
				got := shares(t, addr)
				for pid, n := range got {
					if n < 200/want/2 {
						t.Errorf("%d has %d of 200", pid, n)
					}
				}
				if len(got) != want {
					t.Errorf("%d answer, want %d: %v", len(got), want, got)
				}
			}
			start(t, os.Getuid(), "serve")
			start(t, os.Getuid(), "serve")
			got := shares(t, addr)
			for pid, n := range got {
				if n < 30 {
					t.Errorf("%d has %d of 200", pid, n)
				}
			}
			if len(got) != 3 {
				t.Errorf("%v answer", got)
			}
		})
	}
}

// Who joins while another is drained leaves that one's program alone, and has its
// share once that is closed.
func TestJoinsDrained(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	for _, i := range []int{0, 1} { // the first one and the last one is drained
		servers := []process{start(t, os.Getuid(), "serve"), start(t, os.Getuid(), "serve")}
		server, other := servers[i], servers[1-i]
		server.tell(t, "drain")
		server.expect(t, "drained")
		third := start(t, os.Getuid(), "serve")
		if got := shares(t, addr); got[server.pid()] > 0 {
			t.Errorf("drained, another joined: %v", got)
		}
		server.end(t)
		if got := shares(t, addr); got[other.pid()] < 50 || got[third.pid()] < 50 {
			t.Errorf("of %d and %d %v answer", other.pid(), third.pid(), got)
		}
		other.end(t)
		third.end(t)
	}
}

// What is left of a Drain gives all new connections to one that joins without this
// package, and is gone when another joins with it.
func TestProgramLeft(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	first, second := start(t, os.Getuid(), "serve"), start(t, os.Getuid(), "serve")
	first.tell(t, "drain")
	first.expect(t, "drained")
	first.end(t)
	third := start(t, os.Getuid(), "serve", "-plain")
	if got := shares(t, addr); len(got) != 1 || got[third.pid()] == 0 {
		t.Errorf("%v answer, want %d", got, third.pid())
	}
	third.end(t)
	if got := shares(t, addr); len(got) != 1 || got[second.pid()] == 0 {
		t.Errorf("%v answer, want %d", got, second.pid())
	}
	start(t, os.Getuid(), "serve", "-plain")
	start(t, os.Getuid(), "serve")
	if got := shares(t, addr); len(got) != 3 {
		t.Errorf("%v answer, want three", got)
	}
}

// Permanent workers, all replaced at the same time.
func TestWorkers(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	for _, test := range []struct{ name, serve, load, flags string }{
		{"TCP", "serve", "load", ""},
		{"UDP", "serve udp", "load udp", "-net udp -addr :9999"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			workers := func() (n []process) {
				for range 4 {
					n = append(n, start(t, nobody, test.serve, strings.Fields(test.flags)...))
				}
				return n
			}
			restarts := func(drain bool) (lost int) {
				serving := workers()
				clients := start(t, nobody, test.load)
				for range times(5) {
					next := workers()
					for _, w := range serving {
						if drain {
							w.tell(t, "drain")
						}
						w.tell(t, "close")
					}
					for _, w := range serving {
						if drain {
							w.expect(t, "drained")
						}
						if err := w.Wait(); err != nil {
							t.Fatal(err)
						}
					}
					serving = next
				}
				ok, lost, slow := clients.finish(t, drain, serving...)
				t.Logf("drain %v: %d answers, %d lost, %d slow", drain, ok, lost, slow)
				return lost
			}
			lossless(t, restarts)
		})
	}
}

// While one waits for its queue, the successor dies: it takes connections back
// and says so.
func TestSuccessorDies(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	server, conn := queued(t)
	next := start(t, os.Getuid(), "serve")
	server.tell(t, "drain")
	steered(t, next)
	next.Process.Process.Kill()
	next.Wait()
	server.expect(t, "alone")
	server.tell(t, "go on")
	if pid := hear(t, conn); pid != server.pid() {
		t.Errorf("%d answers", pid)
	}
	if pid := ask(t, addr); pid != server.pid() {
		t.Errorf("%d answers", pid)
	}
	// And the next successor gets what it should.
	next = start(t, os.Getuid(), "serve")
	server.tell(t, "drain")
	server.expect(t, "drained")
	if got := shares(t, addr); len(got) != 1 || got[next.pid()] == 0 {
		t.Errorf("%v answer, want %d", got, next.pid())
	}
}

// steered returns when connections go to p alone.
func steered(t testing.TB, p process) {
	t.Helper()
	inARow(t, func(patience time.Duration) (steered, answered bool) {
		pid := ask1(addr, patience)
		return pid == p.pid(), pid != 0
	})
}

// inARow returns when forty requests were answered as they are when connections are
// steered. A server that accepts nothing does not answer; one on a busy machine not
// yet, for which requests become more patient.
func inARow(t testing.TB, ask func(patience time.Duration) (steered, answered bool)) {
	t.Helper()
	patience := testnet.Slow(20 * time.Millisecond)
	deadline := time.Now().Add(guard)
	for n := 0; n < 40; {
		steered, answered := ask(patience)
		if steered {
			n++
		} else {
			n = 0
		}
		if !answered {
			patience = min(2*patience, testnet.Slow(time.Second))
		}
		if time.Now().After(deadline) {
			t.Fatal("connections are not steered")
		}
	}
}

// ask1 is ask of a server that may not answer: then it returns 0.
func ask1(addr string, patience time.Duration) (pid int) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetLinger(0)
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "x")
	fmt.Fscan(conn, &pid)
	return pid
}

// queued starts a server that accepts nothing, and leaves a connection in its queue.
func queued(t testing.TB) (server process, conn net.Conn) {
	t.Helper()
	server = start(t, os.Getuid(), "serve", "-silent")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return server, conn
}

// A third process joins while one drains, and another leaves.
func TestChangesDuringDrain(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	server, conn := queued(t)
	second := start(t, os.Getuid(), "serve")
	server.tell(t, "drain")
	steered(t, second)
	third := start(t, os.Getuid(), "serve", "-plain")
	for deadline := time.Now().Add(guard); ask1(addr, testnet.Slow(200*time.Millisecond)) != third.pid(); {
		if time.Now().After(deadline) {
			t.Fatal("the third gets no connection")
		}
	}
	second.Process.Process.Kill() // the kernel moves the third into its slot
	second.Wait()
	steered(t, third)
	server.tell(t, "go on")
	server.expect(t, "drained")
	hear(t, conn)
	conn.Close()
	if got := shares(t, addr); len(got) != 1 || got[third.pid()] == 0 {
		t.Errorf("%v answer, want %d", got, third.pid())
	}
	server.end(t)
	shares(t, addr)
}

// At the end of its context Drain tells what was left, and can go on later.
func TestDeadline(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	server, conn := queued(t)
	next := start(t, os.Getuid(), "serve")
	server.tell(t, "drain")
	steered(t, next)
	server.tell(t, "cancel")
	left := 0 // this connection, and those of steered
	for _, s := range testnet.Sockets(t) {
		if s.State == testnet.Listen {
			left += s.Waiting
		}
	}
	if line := server.expect(t, "ended"); left == 0 || !strings.Contains(line, fmt.Sprintf(" %d connections not accepted", left)) {
		t.Errorf("%q does not tell that %d were left", line, left)
	}
	steered(t, next)
	server.tell(t, "go on")
	hear(t, conn)
	conn.Close()
	server.tell(t, "drain")
	server.expect(t, "drained")
	server.end(t)
}
