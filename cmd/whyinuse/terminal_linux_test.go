package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A terminal is one with a shell.
type terminal struct {
	*scene
	master *os.File
	out    *bufio.Reader
	name   string // "pts/3"
}

// terminal opens one, with a shell of the user nobody.
func (s *scene) terminal() *terminal {
	s.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		s.Skip("needs bash")
	}
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	s.must(err)
	s.ends = append(s.ends, func() { master.Close() })
	s.must(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	s.must(err)
	t := &terminal{scene: s, master: master, out: bufio.NewReader(master), name: fmt.Sprint("pts/", number)}
	slave, err := os.OpenFile("/dev/"+t.name, os.O_RDWR|unix.O_NOCTTY, 0)
	s.must(err)
	defer slave.Close()
	cmd := s.program(bash, []string{"bash", "--norc", "--noprofile", "-i"}, nobody, 0)
	cmd.Env = append(cmd.Env, "PS1=", "HISTFILE=", "TERM=dumb", "TESTNET_PROGRAM=actor", actorEnv+"=pid\ntcp 0.0.0.0:5000 listen\nstay") // without a read, which would stop it
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	s.inGroup(cmd, "")
	s.must(cmd.Start())
	s.actors = append(s.actors, &player{Cmd: cmd, pid: cmd.Process.Pid})
	return t
}

func (t *terminal) types(keys string) {
	t.Helper()
	_, err := t.master.WriteString(keys)
	t.must(err)
}

// server starts one in the shell, and suspends it.
func (t *terminal) server() *orphan {
	t.Helper()
	t.types("python3 app.py\n")
	var server *orphan
	for server == nil {
		line, err := t.out.ReadString('\n')
		t.must(err)
		if i := strings.Index(line, "child "); i >= 0 {
			server = t.adopts(line[i:])
		}
	}
	for line := ""; line != "ok\r\n"; {
		var err error
		line, err = t.out.ReadString('\n')
		t.must(err)
	}
	t.types("\x1a")
	for stateOf(server.pid) != 'T' {
		runtime.Gosched()
	}
	return server
}
