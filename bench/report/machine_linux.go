package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A host is the machine and what else it did.
type host struct {
	model, kernel string
	load          [2]string // before and after
}

func machine() *host {
	h := &host{model: model()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		// The rest of a release names who built it.
		h.kernel, _, _ = strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	}
	h.load[0] = load()
	return h
}

func (h *host) after() { h.load[1] = load() }

func (h *host) String() string {
	return fmt.Sprintf("%d CPUs (%s, %s), Linux %s, %s. The load average was %s at the beginning and %s at the end.",
		runtime.NumCPU(), h.model, runtime.GOARCH, h.kernel, runtime.Version(), h.load[0], h.load[1])
}

func model() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
