package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The lines of guide.md between which the results stand.
const (
	tableBegin = "<!-- begin of what bench/restart wrote -->\n"
	tableEnd   = "<!-- end of what bench/restart wrote -->\n"
	loadsBegin = "<!-- begin of what bench/restart -loads wrote -->\n"
	loadsEnd   = "<!-- end of what bench/restart -loads wrote -->\n"
)

// A document is what is written of results into guide.md.
type document struct {
	command    string
	took       time.Duration
	begin, end string
	tables     func([]result) string
	plot       func([]result) string // nil: none
}

// write writes the results into guide.md, and a plot of them.
func (d document) write(dir string, results []result) error {
	name := filepath.Join(dir, "guide.md")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), d.begin)
	_, after, ok2 := strings.Cut(rest, d.end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", name, d.begin, d.end)
	}
	var system unix.Utsname
	if err := unix.Uname(&system); err != nil {
		return os.NewSyscallError("uname", err)
	}
	written := fmt.Sprintf("%s\n    cd bench && %s\n\nLinux %s, %d CPUs, %s, %v.\n\n%s\n%s", d.begin, d.command,
		unix.ByteSliceToString(system.Release[:]), runtime.NumCPU(), runtime.Version(), d.took.Round(time.Second), d.tables(results), d.end)
	if err := os.WriteFile(name, []byte(before+written+after), 0o644); err != nil {
		return err
	}
	if d.plot == nil {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "restart.svg"), []byte(d.plot(results)), 0o644)
}
