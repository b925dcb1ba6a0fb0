package handover_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// stopped returns when a process is.
func (p process) stopped(t testing.TB) {
	t.Helper()
	if !p.stoppedOrEnded(t) {
		t.Fatalf("process %d ended", p.pid())
	}
}

// stoppedOrEnded returns when a process is stopped, or false if it has ended as it
// should: its signal came with a call of another goroutine, for which the end does
// not wait.
func (p process) stoppedOrEnded(t testing.TB) (stopped bool) {
	t.Helper()
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(p.pid(), &status, unix.WUNTRACED, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || !status.Stopped() && status != 0 {
			t.Fatalf("process %d: %v, status %x", p.pid(), err, status)
		}
		return status.Stopped()
	}
}

func (p process) signal(t testing.TB, s unix.Signal) {
	t.Helper()
	if err := unix.Kill(p.pid(), s); err != nil {
		t.Fatal(err)
	}
}

// Drain waits: for the application to accept, or for a handshake to end. The
// process is stopped there for a while, or killed. Others serve at once, cannot
// drain while it is stopped, and say so; they can when it is killed.
func TestWaitingOld(t *testing.T) {
	testnet.Parallel(t)
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP} {
		for _, waits := range []string{"queue", "handshake"} {
			t.Run(waits+" "+signal.String(), func(t *testing.T) {
				if waits == "handshake" {
					testnet.NeedRoot(t)
				}
				testnet.Namespace(t)
				flags := []string{"-net", "tcp4", "-addr", ":9999"}
				if waits == "queue" {
					flags = append(flags, "-silent")
				}
				old := start(t, os.Getuid(), "serve", flags...)
				var heard func() []int
				if waits == "queue" {
					heard = connects(t, "Listen", 3)
				} else {
					synFrom(t, 40000)
				}
				next := start(t, os.Getuid(), "serve", flags[:4]...)
				old.tell(t, "drain")
				steered(t, next)
				inode := old.listener(t)
				old.signal(t, signal)
				if signal == unix.SIGKILL {
					old.Wait()
					serves(t, "Listen", next)
					replaceTwice(t, next, flags[:4])
					return
				}
				old.stopped(t)
				serves(t, "Listen", next)
				third := start(t, os.Getuid(), "serve", flags[:4]...)
				next.tell(t, "drain")
				marked(t, 2) // it looks, besides the old one's
				next.tell(t, "cancel")
				if line := next.expect(t, "ended"); !strings.Contains(line, fmt.Sprintf("another socket of the group, of inode %d, is drained", inode)) {
					t.Errorf("%q does not tell whom it waits for", line)
				}
				if got := shares(t, addr); got[old.pid()] > 0 || len(got) == 0 {
					t.Errorf("while the old one is stopped %v answer", got)
				}
				old.signal(t, unix.SIGCONT)
				if waits == "handshake" { // it lasts for a minute
					old.Stop(t)
				} else {
					old.tell(t, "go on")
					old.expect(t, "drained")
					for _, pid := range heard() {
						if pid != old.pid() {
							t.Errorf("%d answers, want %d", pid, old.pid())
						}
					}
					old.end(t)
				}
				next.replaceBy(t, "Listen", third)
				replaceTwice(t, third, flags[:4])
			})
		}
	}
}

// listener returns the inode of the process's listener.
func (p process) listener(t testing.TB) (inode uint64) {
	t.Helper()
	diag, err := sockdiag.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	members, err := diag.Members(t.Context(), sockdiag.Request{
		Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET, States: sockdiag.Set(sockdiag.Listen), LocalPort: 9999,
	})
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.pid(), fd.Name()))
		for _, m := range members {
			if name == fmt.Sprintf("socket:[%d]", m.Inode) {
				return uint64(m.Inode)
			}
		}
	}
	t.Fatalf("process %d has no listener", p.pid())
	return 0
}

// replaceTwice replaces p, and who comes then.
func replaceTwice(t testing.TB, p process, flags []string) {
	t.Helper()
	for range 2 {
		p = p.replaceBy(t, "Listen", start(t, os.Getuid(), "serve", flags...))
	}
	p.end(t)
}

// One has drained and is not closed, another waits for its turn, and there is a
// third. The first or the second is killed, or stopped for a while.
func TestWaitingTurn(t *testing.T) {
	testnet.Parallel(t)
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGSTOP} {
		for _, victim := range []int{0, 1} {
			t.Run([]string{"first ", "second "}[victim]+signal.String(), func(t *testing.T) {
				testnet.Namespace(t)
				var p []process
				for range 3 {
					p = append(p, start(t, os.Getuid(), "serve"))
				}
				p[0].tell(t, "drain")
				p[0].expect(t, "drained")
				p[1].tell(t, "drain")
				marked(t, 2) // it looks, and marks its socket to do so
				p[victim].signal(t, signal)
				if signal == unix.SIGKILL {
					p[victim].Wait()
				} else {
					p[victim].stopped(t)
				}
				switch {
				case victim == 0 && signal == unix.SIGKILL: // the second has its turn
					p[1].expect(t, "drained")
					p[1].end(t)
				case victim == 0:
					serving(t, p[1], p[2])
					p[0].signal(t, unix.SIGCONT)
					p[0].end(t)
					p[1].expect(t, "drained")
					p[1].end(t)
				case signal == unix.SIGKILL:
					// The group has changed since the first was drained, so
					// that may get something again.
					if got := shares(t, addr); got[p[1].pid()] > 0 || got[p[2].pid()] == 0 {
						t.Errorf("%v answer", got)
					}
					p[0].end(t)
				default:
					// The kernel gives the second its share. The third
					// cannot drain, if the mark was there, until it goes on.
					heard := connects(t, "Listen", 20)
					p[0].end(t)
					p[2].tell(t, "drain briefly")
					line := p[2].expect(t, "ended", "drained")
					t.Logf("stopped at any time: %s", outcomeOf(line))
					p[1].signal(t, unix.SIGCONT)
					for _, pid := range heard() {
						if pid != p[1].pid() && pid != p[2].pid() {
							t.Errorf("%d answers", pid)
						}
					}
					if outcomeOf(line) == "drained" {
						p[2].end(t)
						p[1].expect(t, "alone", "drained", "error")
						p[2] = p[1]
					} else {
						p[1].expect(t, "drained")
						p[1].end(t)
					}
				}
				serves(t, "Listen", p[2])
				replaceTwice(t, p[2], nil)
			})
		}
	}
}

// marked returns when n processes have shown the mark by which they exclude each
// other, at any time.
func marked(t testing.TB, n int) {
	t.Helper()
	diag, err := sockdiag.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	var seen []uint64
	for len(seen) < n {
		members, err := diag.Members(t.Context(), sockdiag.Request{
			Protocol: unix.IPPROTO_TCP, Family: unix.AF_INET, States: sockdiag.Set(sockdiag.Listen), LocalPort: 9999,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			if m.Mark && !slices.Contains(seen, m.Cookie) {
				seen = append(seen, m.Cookie)
			}
		}
	}
}

// serving fails the test unless both answer.
func serving(t testing.TB, p, q process) {
	t.Helper()
	if got := shares(t, addr); len(got) != 2 || got[p.pid()] == 0 || got[q.pid()] == 0 {
		t.Errorf("%v answer, want %d and %d", got, p.pid(), q.pid())
	}
}

// A successor that is stopped keeps its share waiting, as the kernel has it. Drain
// returns, and when it goes on all is answered.
func TestStoppedSuccessor(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	old := start(t, os.Getuid(), "serve")
	next := start(t, os.Getuid(), "serve")
	next.signal(t, unix.SIGSTOP)
	next.stopped(t)
	old.tell(t, "drain")
	old.expect(t, "drained")
	heard := connects(t, "Listen", 20)
	old.end(t)
	next.signal(t, unix.SIGCONT)
	for _, pid := range heard() {
		if pid != next.pid() {
			t.Errorf("%d answers, want %d", pid, next.pid())
		}
	}
	replaceTwice(t, next, nil)
}

// A hundred restarts in a row, under load.
func TestManyRestarts(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	testnet.Namespace(t)
	n := testnet.Times(100)
	lossless(t, func(drain bool) (lost int) {
		if !drain {
			n = min(n, 10)
		}
		return replaced(t, drain, n,
			func() process { return start(t, nobody, "serve") },
			func() process { return start(t, nobody, "load", "-n", "8") })
	})
}
