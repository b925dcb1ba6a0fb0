// Command matrix runs the tests of all packages on all systems of
// tools/systems/list.sh, as root and as an ordinary user, and writes what came of
// it into the table in docs/portability.md. Rows and columns that it did not run
// stay.
//
//	go run -C tools ./systems/matrix [-systems 6.1,gvisor] [-packages handover]
//
// It takes an hour or more on two processors, and needs root, on Debian.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const module = "example.com/reuse"

var (
	only     = flag.String("systems", "", "only these, separated by commas")
	packages = flag.String("packages", "", "only these, below "+module+"; . is itself")
	logs     = flag.String("logs", "", "keep the tests' output in this `directory`")
	ports    = flag.Bool("ports", false, "also build and vet for the systems that are not run")
	limit    = flag.Duration("limit", 10*time.Minute, "of one package")
	into     = flag.String("table", "docs/portability.md", "the `file` with the table")
	users    = flag.String("users", "0,65534", "user ids")
)

// The ports that nothing here can run.
var builtOnly = []string{
	"darwin/arm64", "freebsd/amd64", "netbsd/amd64", "openbsd/amd64", "dragonfly/amd64", "solaris/amd64",
	"illumos/amd64", "aix/ppc64", "windows/amd64", "plan9/amd64", "js/wasm", "wasip1/wasm",
}

func main() {
	log.SetFlags(log.Ltime)
	flag.Parse()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	root, err := output("", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "reuse-matrix")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		os.RemoveAll(temp)
		os.Exit(1)
	}()
	if *logs == "" {
		*logs = filepath.Join(temp, "logs")
	}
	m := &matrix{root: root, temp: temp, table: *into}
	if !filepath.IsAbs(m.table) {
		m.table = filepath.Join(root, m.table)
	}
	if err := os.MkdirAll(*logs, 0o755); err != nil {
		return err
	}
	if m.packages, err = m.tested(); err != nil {
		return err
	}
	systems, err := output(root, "bash", "-c", ". tools/systems/list.sh && echo ${systems[*]}")
	if err != nil {
		return err
	}
	for _, system := range strings.Fields(systems) {
		if chosen(*only, system) {
			if err := m.system(system); err != nil {
				log.Printf("%s: %v", system, err)
			}
		}
	}
	if *ports {
		for _, port := range builtOnly {
			if err := m.port(port); err != nil {
				return err
			}
		}
	}
	return nil
}

type matrix struct {
	root, temp, table string
	packages          []string // below the module, "." for the first
}

// tested returns the packages that have tests.
func (m *matrix) tested() ([]string, error) {
	list, err := output(m.root, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, path := range strings.Fields(list) {
		name := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(path, module), "/"), ".")
		if chosen(*packages, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

// base is a name for files of a package.
func base(name string) string {
	if name == "." {
		return "reuse"
	}
	return strings.ReplaceAll(name, "/", "-")
}

// title is a package's column.
func title(name string) string {
	if name == "." {
		return "reuse"
	}
	return name
}

func chosen(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// system runs all packages on a system.
func (m *matrix) system(system string) error {
	dir, err := output(m.root, "tools/systems/prepare", system)
	if err != nil {
		return err
	}
	arch, version := read(dir, "arch"), read(dir, "version")
	for _, name := range m.packages {
		binary := filepath.Join(m.temp, arch, base(name)+".test")
		if _, err := os.Stat(binary); err == nil {
			continue
		}
		build := exec.Command("go", "test", "-c", "-o", binary, "./"+name)
		build.Dir, build.Stderr = m.root, os.Stderr
		build.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		if err := build.Run(); err != nil {
			return err
		}
	}
	for _, uid := range strings.Split(*users, ",") {
		for _, name := range m.packages {
			base := base(name)
			file := filepath.Join(*logs, fmt.Sprintf("%s.%s.%s.log", system, uid, base))
			start := time.Now()
			result, err := m.test(system, uid, name, filepath.Join(m.temp, arch, base+".test"), file)
			if err != nil {
				return err
			}
			log.Printf("%s, user %s, %s: %s (%.0f s)", system, uid, name, result, time.Since(start).Seconds())
			as := "root"
			if uid != "0" {
				as = "user"
			}
			err = update(m.table, row{system: system, version: version + ", " + arch, as: as}, title(name), result)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// test runs a package's tests, and returns what the table says of them.
func (m *matrix) test(system, uid, name, binary, file string) (string, error) {
	out, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer out.Close()
	// The binary ends by itself, and tells where it was. TestDocuments needs
	// the go command, and is of no system.
	cmd := exec.Command(filepath.Join(m.root, "tools/systems/run"), system, binary,
		"-test.v", "-test.short", "-test.skip", "^TestDocuments$", "-test.timeout", (*limit - *limit/10).String())
	cmd.Dir = filepath.Join(m.root, name)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "RUN_UID="+uid, fmt.Sprintf("RUN_TIMEOUT=%.0f", limit.Seconds()))
	if system != "native" && !strings.HasPrefix(system, "user-") {
		cmd.Env = append(cmd.Env, "TESTNET_MACHINE=own")
	}
	failed := cmd.Run()
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return summary(string(text), failed), nil
}

// port builds and vets the packages for a system.
func (m *matrix) port(port string) error {
	goos, arch, _ := strings.Cut(port, "/")
	cmd := exec.Command("go", "vet", "./...")
	cmd.Dir = m.root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch)
	result := "built only"
	if out, err := cmd.CombinedOutput(); err != nil {
		log.Printf("%s: %s", port, out)
		result = "does not build"
	}
	for _, name := range m.packages {
		if err := update(m.table, row{system: port, version: runtime.Version(), as: ""}, title(name), result); err != nil {
			return err
		}
	}
	return nil
}

func output(dir string, command ...string) (string, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v: %w", command, err)
	}
	return strings.TrimSpace(string(out)), err
}

func read(dir, name string) string {
	text, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(text))
}
