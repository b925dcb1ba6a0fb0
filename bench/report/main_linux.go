// Report runs the benchmarks of this module and of examples/upper, and writes what
// they measured into docs/performance.md, with plots.
//
//	cd bench && go run ./report [-rounds n] [-docs ../docs] [-quick]
//
// The benchmarks run one after the other, all of them in every round. So what
// else the machine does meets all, and the quartiles over the rounds show it. What
// is compared with package net, or with no program, is measured in pairs within
// a benchmark. It needs what the benchmarks need: root, and strace.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A job is benchmarks that are run with as many iterations.
type job struct {
	dir, pattern, time string
	quick              string // time of a trial
}

func jobs() []job {
	const upper = "../examples/upper/upper"
	return []job{
		{".", "^Benchmark(Listen|ListenPacket)$", "2000x", "50x"},
		{".", "^BenchmarkLeftovers$", "60x", "3x"},
		{".", "^BenchmarkAccept$", "15x", "2x"},
		{".", "^BenchmarkSteer$", "500x", "5x"},
		{".", "^BenchmarkQueues$", "3x", "1x"},
		{".", "^Benchmark(Balance|Stopped)$", "1x", "1x"},
		{upper, "^BenchmarkUpper$", "300ms", "20ms"},
		{upper, "^BenchmarkEcho(Packets)?$", "300ms", "20ms"},
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	rounds := flag.Int("rounds", 5, "how often to run all benchmarks")
	docs := flag.String("docs", "../docs", "`directory` of performance.md")
	quick := flag.Bool("quick", false, "a trial: short runs, whose numbers mean nothing")
	flag.Parse()
	dir, err := os.MkdirTemp("", "reuse-report")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := machine()
	r := results{}
	for round := range *rounds {
		for _, j := range jobs() {
			log.Printf("round %d of %d: %s", round+1, *rounds, j.pattern)
			if err := j.run(dir, *quick, r); err != nil {
				return err
			}
		}
	}
	m.after()
	text, plots := document(r, m, *rounds)
	for name, svg := range plots {
		if err := os.WriteFile(filepath.Join(*docs, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(*docs, "performance.md"), []byte(text), 0o644)
}

// run runs the benchmarks once, and adds what they report to r.
func (j job) run(temp string, quick bool, r results) error {
	binary := filepath.Join(temp, strings.ReplaceAll(j.dir, "/", "_")+".test")
	if _, err := os.Stat(binary); err != nil {
		build := exec.Command("go", "test", "-c", "-o", binary, ".")
		build.Dir, build.Stderr = j.dir, os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("go test -c in %s: %w", j.dir, err)
		}
	}
	time := j.time
	if quick {
		time = j.quick
	}
	cmd := exec.Command(binary, "-test.run=^$", "-test.bench="+j.pattern, "-test.benchtime="+time, "-test.benchmem")
	cmd.Dir, cmd.Stderr = j.dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", j.pattern, err, out)
	}
	return r.add(string(out))
}
