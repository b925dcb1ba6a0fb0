package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The lines of guide.md between which the results stand.
const (
	tableBegin = "<!-- begin of what bench/restart wrote -->\n"
	tableEnd   = "<!-- end of what bench/restart wrote -->\n"
)

// writeDocuments writes the results into guide.md, and a plot of them.
func writeDocuments(dir, command string, results []result) error {
	name := filepath.Join(dir, "guide.md")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", name, tableBegin, tableEnd)
	}
	var system unix.Utsname
	if err := unix.Uname(&system); err != nil {
		return os.NewSyscallError("uname", err)
	}
	written := fmt.Sprintf("%s\n    cd bench && %s\n\nLinux %s, %d CPUs, %s.\n\n%s\n%s", tableBegin, command,
		unix.ByteSliceToString(system.Release[:]), runtime.NumCPU(), runtime.Version(), table(results), tableEnd)
	if err := os.WriteFile(name, []byte(before+written+after), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "restart.svg"), []byte(plot(results)), 0o644)
}
