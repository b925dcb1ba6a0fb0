package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runAll runs cells, some of them at once and the longest first, and returns their
// results in the same order.
func runAll(cells []cell, parallel int, asJSON bool) ([]result, error) {
	results, errs := make([]result, len(cells)), make([]error, len(cells))
	order := make([]int, len(cells))
	for i := range order {
		order[i] = i
	}
	if parallel > 1 {
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(cells[j].estimate(), cells[i].estimate()) })
	}
	var next, done atomic.Int32
	var printing sync.Mutex
	var running sync.WaitGroup
	for range min(parallel, len(cells)) {
		running.Go(func() {
			// The kernel ends a cell with the thread that started it.
			runtime.LockOSThread()
			for n := int(next.Add(1)) - 1; n < len(cells); n = int(next.Add(1)) - 1 {
				i := order[n]
				c := cells[i]
				began := time.Now()
				r, err := c.start()
				if err != nil {
					errs[i] = fmt.Errorf("%s, %s: %w", c.Scenario.Name, c.Strategy, err)
					next.Store(int32(len(cells)))
					return
				}
				results[i] = r
				printing.Lock()
				if asJSON {
					errs[i] = json.NewEncoder(os.Stdout).Encode(r)
				} else {
					log.Printf("%d/%d %v (%.1f s)", done.Add(1), len(cells), r, time.Since(began).Seconds())
				}
				printing.Unlock()
			}
		})
	}
	running.Wait()
	return results, errors.Join(errs...)
}

// plan returns the cells to run. Strategies alternate within a scenario, so that
// what else the machine does meets all of them.
func plan(all []scenario, short bool, only, strategies string) ([]cell, error) {
	wanted := func(list, name string, otherwise bool) bool {
		if list == "" {
			return otherwise
		}
		return slices.Contains(strings.Split(list, ","), name)
	}
	var cells []cell
	for _, s := range all {
		if !wanted(only, s.Name, !short || s.Short) {
			continue
		}
		if s.Habits != nil && s.Habits.Python && python() == "" {
			log.Printf("%s: there is no python3", s.Name)
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

// cellTime bounds a cell; the longest takes some 4 minutes.
const cellTime = 10 * time.Minute

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
