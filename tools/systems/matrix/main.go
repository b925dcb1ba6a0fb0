// Command matrix runs the tests of all packages on all systems of
// tools/systems/list.sh, as root and as an ordinary user, and writes what came of
// it into the table in docs/portability.md. Rows and columns that it did not run
// stay.
//
//	go run -C tools ./systems/matrix [-systems 6.1,gvisor] [-packages handover]
//
// On kernels it also replaces servers under load, by bench/restart. It takes hours
// on two processors, and needs root, on Debian.
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
	"sync"
	"syscall"
	"time"
)

const module = "example.com/reuse"

var (
	only     = flag.String("systems", "", "only these, separated by commas")
	packages = flag.String("packages", "", "only these, below "+module+"; . is itself, "+restarts+" no tests")
	logs     = flag.String("logs", "", "keep the tests' output in this `directory`")
	ports    = flag.Bool("ports", false, "also build and vet for the systems that are not run")
	limit    = flag.Duration("limit", 20*time.Minute, "of one package")
	jobs     = flag.Int("jobs", 1, "`systems` at a time: each keeps a processor busy")
	race     = flag.Bool("race", false, "with the race detector, in rows of their own")
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
	var running sync.WaitGroup
	free := make(chan struct{}, *jobs)
	for _, system := range strings.Fields(systems) {
		if !chosen(*only, system) {
			continue
		}
		free <- struct{}{}
		running.Go(func() {
			if err := m.system(system); err != nil {
				log.Printf("%s: %v", system, err)
			}
			<-free
		})
	}
	running.Wait()
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
	mu                sync.Mutex
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
	names := m.packages
	_, err = os.Stat(filepath.Join(dir, "kernel"))
	if kernel := err == nil || system == "native"; kernel && chosen(*packages, restarts) && !*race {
		names = append(slices.Clone(names), restarts)
	}
	for _, name := range names {
		if err := m.build(name, arch); err != nil {
			return err
		}
	}
	for _, uid := range strings.Split(*users, ",") {
		for _, name := range names {
			if name == restarts && uid != "0" {
				continue // it needs root; its servers are an ordinary user's
			}
			as := "root"
			if uid != "0" {
				as = "user"
			}
			if *race {
				as += ", -race"
			}
			file := filepath.Join(*logs, fmt.Sprintf("%s.%s.%s.log", system, as, base(name)))
			start := time.Now()
			result, err := m.test(system, uid, name, m.binary(name, arch), file)
			if err != nil {
				return err
			}
			log.Printf("%s, %s, %s: %s (%.0f s)", system, as, name, result, time.Since(start).Seconds())
			m.mu.Lock()
			err = update(m.table, row{system: system, version: version + ", " + arch, as: as}, title(name), result)
			m.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// binary is where build puts it.
func (m *matrix) binary(name, arch string) string {
	return filepath.Join(m.temp, arch, base(name)+".test")
}

// build builds a package's tests, or restarts.
func (m *matrix) build(name, arch string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	binary := m.binary(name, arch)
	if _, err := os.Stat(binary); err == nil {
		return nil
	}
	build := exec.Command("go", "test", "-c", "-o", binary, "./"+name)
	build.Dir, build.Stderr = m.root, os.Stderr
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	switch {
	case name == restarts:
		build.Args = []string{"go", "build", "-o", binary, "./restart"}
		build.Dir = filepath.Join(m.root, "bench")
	case *race: // C is static, too
		build.Args = slices.Insert(build.Args, 2, "-race", "-ldflags", "-linkmode external -extldflags -static")
		build.Env = append(build.Env, "CGO_ENABLED=1")
	}
	return build.Run()
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
	args := []string{"-test.v", "-test.skip", "^TestDocuments$", "-test.timeout", (*limit - *limit/10).String()}
	summary := summary
	if name == restarts {
		args, summary = []string{"-short", "-json"}, lost
	}
	cmd := exec.Command(filepath.Join(m.root, "tools/systems/run"), append([]string{system, binary}, args...)...)
	cmd.Dir = filepath.Join(m.root, name)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "RUN_UID="+uid, fmt.Sprintf("RUN_TIMEOUT=%.0f", limit.Seconds()))
	if *race && os.Getenv("RUN_MEMORY") == "" {
		cmd.Env = append(cmd.Env, "RUN_MEMORY=4096") // the detector's, of each process
	}
	// The other packages' tests leave connections that the next test must not find.
	shares := name == "handover" || name == "shard" || strings.HasPrefix(name, "examples/") || name == "internal/group"
	if shares && system != "native" && !strings.HasPrefix(system, "user-") {
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
