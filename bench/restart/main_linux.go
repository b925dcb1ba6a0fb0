// Restart replaces server processes under load, in several ways, and counts what
// became of every connection, request and datagram.
//
//	cd bench && go run ./restart [-short] [-scenarios a,b] [-strategies a,b] [-restarts n] [-seed n] [-json] [-write ../docs]
//
// Every pair of a scenario and a strategy is a process of its own, in a network
// namespace of its own; the servers are further processes, of uid 65534 and
// without capabilities. A link with a round-trip time and losses is a pair of
// TUN devices between two namespaces. It needs root, and touches no network but
// those.
//
// -write puts the table and a plot of it into the documents: guide.md, between
// its markers, and restart.svg.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Processes that this program starts find in the environment what to be.
const (
	cellEnv   = "RESTART_CELL"
	serverEnv = "RESTART_SERVER"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("restart: ")
	// The kernel ends a process with the thread that started it.
	runtime.LockOSThread()
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	if text, ok := os.LookupEnv(serverEnv); ok {
		var c serverConfig
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return err
		}
		return serve(c)
	}
	if text, ok := os.LookupEnv(cellEnv); ok {
		var c cell
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return err
		}
		r, err := c.run()
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return harness()
}

func harness() error {
	short := flag.Bool("short", false, "a few scenarios and restarts: what the test runs")
	only := flag.String("scenarios", "", "comma-separated `names`, default all")
	strategies := flag.String("strategies", "", "comma-separated `names`, default all but none")
	restarts := flag.Int("restarts", 0, "restarts of each scenario and strategy, default 20, with -short 4")
	seed := flag.Uint64("seed", 1, "of losses on the link and of the clients' pauses")
	grace := flag.Duration("idle-grace", 0, "HTTPServer.IdleGrace: clients on a slow machine may pause for longer than its default")
	asJSON := flag.Bool("json", false, "print results as JSON, one a line")
	write := flag.String("write", "", "also write guide.md and restart.svg in this `directory`")
	flag.Parse()

	cells, err := plan(*short, *only, *strategies)
	if err != nil {
		return err
	}
	var results []result
	for i := range cells {
		cells[i].Seed, cells[i].IdleGrace = *seed, *grace
		cells[i].Restarts = cmp.Or(*restarts, cells[i].Restarts)
		began := time.Now()
		r, err := cells[i].start()
		if err != nil {
			return fmt.Errorf("%s, %s: %w", cells[i].Scenario.Name, cells[i].Strategy, err)
		}
		results = append(results, r)
		if *asJSON {
			if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
				return err
			}
			continue
		}
		log.Printf("%d/%d %v (%.1f s)", i+1, len(cells), r, time.Since(began).Seconds())
	}
	if !*asJSON {
		fmt.Println(table(results))
	}
	if *write != "" {
		command := strings.Join(append([]string{"go run ./restart"}, os.Args[1:]...), " ")
		return writeDocuments(*write, command, results)
	}
	return nil
}

// plan returns the cells to run. Strategies alternate within a scenario, so that
// what else the machine does meets all of them.
func plan(short bool, only, strategies string) ([]cell, error) {
	wanted := func(list, name string, otherwise bool) bool {
		if list == "" {
			return otherwise
		}
		return slices.Contains(strings.Split(list, ","), name)
	}
	var cells []cell
	for _, s := range scenarios() {
		if !wanted(only, s.Name, !short || s.Short) {
			continue
		}
		for _, name := range strategyNames {
			byDefault := name != "none" && (!short || name == "close" || name == "handover")
			if !wanted(strategies, name, byDefault) || !s.has(name) {
				continue
			}
			n := cmp.Or(s.Restarts, 20)
			if short {
				n = 4
			}
			cells = append(cells, cell{Scenario: s, Strategy: name, Restarts: n})
		}
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("no scenario and strategy of %q and %q", only, strategies)
	}
	return cells, nil
}

// cellTime bounds a cell; the longest takes some 30 s.
const cellTime = 5 * time.Minute

// start runs c in a process and a network namespace of its own.
func (c cell) start() (result, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return result{}, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), cellEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	timer := time.AfterFunc(cellTime, func() {
		if cmd.Process != nil {
			cmd.Process.Kill()
		}
	})
	defer timer.Stop()
	out, err := cmd.Output()
	if err != nil {
		return result{}, err
	}
	var r result
	return r, json.Unmarshal(out, &r)
}
