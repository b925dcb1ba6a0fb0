package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// user is the servers'.
const user = 65534

// A fleet is the server processes of a cell. They share a pipe on which they
// print, and one that ends with the harness.
type fleet struct {
	space  *space
	config serverConfig
	out    *os.File // the servers' standard output
	in     *os.File // and input
	hold   *os.File
	socket *os.File // nil, or what the servers inherit

	mu      sync.Mutex
	servers map[int]*server
}

// A server is a process, started by the fleet or by another server.
type server struct {
	process *os.Process
	lines   chan line
	early   []line // read while waiting for others
}

// A line is what a server printed.
type line struct{ verb, value string }

// successorLine is what the parent of a server is said to have printed when
// that one is ready.
const successorLine = "successor"

func newFleet(s *space, c serverConfig) (*fleet, error) {
	// A server that another one started becomes this process's child.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, os.NewSyscallError("prctl PR_SET_CHILD_SUBREAPER", err)
	}
	f := &fleet{space: s, config: c, servers: map[int]*server{}}
	lines, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	in, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	f.out, f.in, f.hold = out, in, hold
	go f.listen(lines)
	if h := c.Scenario.Habits; h != nil && h.Activated {
		f.socket, err = openInherited(s, c.Scenario)
	}
	return f, err
}

// listen hands what servers print to who waits for it.
func (f *fleet) listen(from *os.File) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		pid, rest, _ := strings.Cut(lines.Text(), " ")
		number, err := strconv.Atoi(pid)
		if err != nil {
			continue
		}
		verb, value, _ := strings.Cut(rest, " ")
		f.server(number).lines <- line{verb, value}
		if verb == readyLine {
			if parent, err := strconv.Atoi(value); err == nil && parent != os.Getpid() {
				f.server(parent).lines <- line{successorLine, pid}
			}
		}
	}
}

// server returns the server of that pid.
func (f *fleet) server(pid int) *server {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.servers[pid]
	if s == nil {
		s = &server{lines: make(chan line, 64)}
		f.servers[pid] = s
	}
	return s
}

// start starts a server and returns when it listens.
func (f *fleet) start() (*server, error) {
	s, err := f.run(f.config)
	if err != nil {
		return nil, err
	}
	_, err = s.wait(readyLine)
	return s, err
}

// giveUp has a process listen and end.
func (f *fleet) giveUp() error {
	c := f.config
	c.GiveUp = true
	s, err := f.run(c)
	if err != nil {
		return err
	}
	if _, err := s.wait(goneLine); err != nil {
		return err
	}
	return s.ended()
}

// run starts a process.
func (f *fleet) run(c serverConfig) (*server, error) {
	config, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	env := []string{serverEnv + "=" + string(config)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, cellEnv+"=") {
			env = append(env, v)
		}
	}
	files := []*os.File{f.in, f.out, os.Stderr}
	if f.socket != nil {
		files = append(files, f.socket)
	}
	var process *os.Process
	err = f.space.do(func() (err error) {
		// By this name another user can run it, wherever it is.
		process, err = os.StartProcess("/proc/self/exe", []string{"/proc/self/exe"}, &os.ProcAttr{
			Dir: "/", Env: env, Files: files,
			Sys: &syscall.SysProcAttr{
				Pdeathsig:  syscall.SIGKILL,
				Credential: &syscall.Credential{Uid: user, Gid: user},
			},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	s := f.server(process.Pid)
	s.process = process
	return s, nil
}

// longest bounds what a server does: the longest is to leave.
const longest = 2 * time.Minute

// wait returns the next line of s that has one of the verbs.
func (s *server) wait(verbs ...string) (line, error) {
	wanted := func(l line) bool { return slices.Contains(verbs, l.verb) }
	if i := slices.IndexFunc(s.early, wanted); i >= 0 {
		l := s.early[i]
		s.early = slices.Delete(s.early, i, i+1)
		return l, nil
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		select {
		case l := <-s.lines:
			if wanted(l) {
				return l, nil
			}
			s.early = append(s.early, l)
		case <-timer.C:
			return line{}, fmt.Errorf("server %d: waited in vain for it to print %v", s.process.Pid, verbs)
		}
	}
}

// errRefused says that a server goes on because closing would lose something.
var errRefused = errors.New("refused")

// leave tells s to go, and returns what it says when it has left its socket.
func (s *server) leave() (said leaving, err error) {
	if err := s.process.Signal(leaveSignal); err != nil {
		return said, err
	}
	l, err := s.wait(leftLine, refusedLine)
	if err != nil {
		return said, err
	}
	if l.verb == refusedLine {
		return said, fmt.Errorf("%w: %s", errRefused, l.value)
	}
	return said, json.Unmarshal([]byte(l.value), &said)
}

// ended returns when the process is gone.
func (s *server) ended() error {
	timer := time.AfterFunc(longest, func() { s.process.Kill() })
	defer timer.Stop()
	state, err := s.process.Wait()
	if err != nil {
		return err
	}
	if !state.Success() {
		return fmt.Errorf("server %d: %v", state.Pid(), state)
	}
	return nil
}

// kill ends s, if it is still there.
func (s *server) kill() {
	s.process.Kill()
	s.process.Wait()
}
