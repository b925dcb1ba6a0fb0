// Command init is the first and only program of a virtual machine that
// tools/systems/run boots: it makes the system ready, executes a test binary,
// prints how that ended, and powers off.
//
// What to do is in files below /.run: nonce, args, env, uid and cwd, as run wrote
// them; lists end their items with a NUL.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	console, err := openConsole()
	if err != nil {
		powerOff()
	}
	nonce := read("/.run/nonce")
	// The markers are lines of their own: run prints what is between them.
	fmt.Fprintf(console, "\n@@RUN %s BEGIN@@\n", nonce)
	setUp(console)
	code := run(console)
	fmt.Fprintf(console, "@@RUN %s END %d@@\n", nonce, code)
	drain(console)
	powerOff()
}

// run executes the test binary, and returns its exit code; as a shell does,
// 128 and the signal for one that a signal ended, and 126 for one that cannot
// be executed.
func run(console *os.File) int {
	args := list("/.run/args")
	uid, _ := strconv.Atoi(read("/.run/uid"))
	cwd := read("/.run/cwd")
	home, user := "/root", "root"
	if uid != 0 {
		home, user = temp, "nobody"
		// Tests may write to their directory.
		filepath.WalkDir(cwd, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				os.Lchown(path, uid, uid)
			}
			return nil
		})
	}

	out := &output{w: console}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = cwd
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home, "USER=" + user, "TMPDIR=" + temp, "PWD=" + cwd,
	}, list("/.run/env")...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 5 * time.Second // for processes that outlive the binary
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	err := cmd.Run()
	if out.partial {
		fmt.Fprintln(console)
	}
	if cmd.ProcessState == nil {
		fmt.Fprintf(console, "init: %v\n", err)
		return 126
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		fmt.Fprintf(console, "init: %v\n", cmd.ProcessState)
		return 128 + int(status.Signal())
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		fmt.Fprintln(console, "init: a process that the binary left behind holds its output open")
	}
	return status.ExitStatus()
}

func powerOff() {
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// read returns a file's text without its last newline, or "".
func read(name string) string {
	text, _ := os.ReadFile(name)
	return strings.TrimSuffix(string(text), "\n")
}

// list returns the items of a file that ends each with a NUL.
func list(name string) (items []string) {
	text, _ := os.ReadFile(name)
	if len(text) == 0 {
		return nil
	}
	for item := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{0}), []byte{0}) {
		items = append(items, string(item))
	}
	return items
}
