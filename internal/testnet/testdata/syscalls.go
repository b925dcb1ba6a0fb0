//go:build ignore

// This program writes syscalls.txt: go generate ./internal/testnet. It takes
// systemd-analyze, and the tables of numbers of golang.org/x/sys.
package main

import (
	"bytes"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	version, _, _ := strings.Cut(output("systemd-analyze", "--version"), "\n")
	fields := strings.Fields(version)
	service, privileged := map[string]bool{}, map[string]bool{}
	flatten("@system-service", service)
	flatten("@privileged", privileged)

	sys := strings.TrimSpace(output("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys"))
	files, err := filepath.Glob(filepath.Join(sys, "unix", "zsysnum_linux_*.go"))
	if err != nil || len(files) == 0 {
		log.Fatal("no tables of system calls: ", err)
	}
	line := regexp.MustCompile(`(?m)^\tSYS_(\w+) += (\d+)$`)
	var architectures []string
	numbers := map[string]map[string]string{} // by architecture and name
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		arch := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "zsysnum_linux_"), ".go")
		architectures = append(architectures, arch)
		numbers[arch] = map[string]string{}
		for _, match := range line.FindAllSubmatch(text, -1) {
			numbers[arch][strings.ToLower(string(match[1]))] = string(match[2])
		}
	}

	var out bytes.Buffer
	fmt.Fprintf(&out, "# The system calls of @system-service, by systemd %s; with a minus those that @privileged has,\n"+
		"# too; and their numbers. Made by go generate ./internal/testnet.\n", fields[1])
	fmt.Fprintln(&out, "name", strings.Join(architectures, " "))
	for _, name := range slices.Sorted(maps.Keys(service)) {
		if privileged[name] {
			out.WriteByte('-')
		}
		out.WriteString(name)
		for _, arch := range architectures {
			number, ok := numbers[arch][name]
			if !ok {
				number = "-"
			}
			out.WriteString(" " + number)
		}
		out.WriteByte('\n')
	}
	if err := os.WriteFile("testdata/syscalls.txt", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// flatten adds the system calls of a set, and of those that are in it.
func flatten(set string, all map[string]bool) {
	for line := range strings.Lines(output("systemd-analyze", "syscall-filter", set)) {
		switch name := strings.TrimSpace(line); {
		case name == "" || name[0] == '#' || name == set:
		case name[0] == '@':
			flatten(name, all)
		default:
			all[name] = true
		}
	}
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	return string(out)
}
