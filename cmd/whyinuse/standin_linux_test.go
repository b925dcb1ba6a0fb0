package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// standIn is a program in place of those of systemd, Docker, Podman and supervisord, which
// tests cannot have. It prints what the scene says that they list, and ends what the scene
// says that a name stands for, and what is in a cgroup of the name.
const standIn = `#!/bin/sh
for name; do
	case $name in
	list-sockets | ps | port) exec cat "$SCENE/$name" ;;
	stop | -*) continue ;;
	esac
	known='' pids=''
	[ -f "$SCENE/$name" ] && known=1 pids=$(cat "$SCENE/$name")
	for dir in $(find "$SCENE_CGROUP" -type d \( -name "$name" -o -name "$name.service" -o -name "docker-$name*.scope" \)); do
		known=1 pids="$pids $(cat "$dir/cgroup.procs")"
	done
	[ "$known" ] || exit 5
	for pid in $pids; do kill "$pid" 2>/dev/null; done
done
exit 0
`

// standInSysctl is sysctl(8) of a machine without one.
const standInSysctl = `#!/bin/sh
[ "$1" = -w ] && printf %s "${2#*=}" >"/proc/sys/$(printf %s "${2%%=*}" | tr . /)"
`

// standIns writes them to a directory.
func standIns(dir string) error {
	var err error
	write := func(name, text string) {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	for _, name := range []string{"systemctl", "docker", "podman", "supervisorctl"} {
		write(name, standIn)
	}
	if _, missing := exec.LookPath("sysctl"); missing != nil {
		write("sysctl", standInSysctl)
	}
	return err
}

// named says for which processes a name stands, to those programs.
func (s *scene) named(name string, pids ...int) {
	s.Helper()
	s.must(os.WriteFile(filepath.Join(s.dir, name), []byte(strings.Trim(fmt.Sprint(pids), "[]")+"\n"), 0o644))
}

// listed says what those programs print to a question.
func (s *scene) listed(question, answer string) {
	s.Helper()
	s.must(os.WriteFile(filepath.Join(s.dir, question), []byte(answer), 0o644))
}
