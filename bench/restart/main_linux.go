// Restart replaces server processes under load, in several ways, and counts what
// became of every connection, request and datagram.
//
//	cd bench && go run ./restart [-loads] [-short] [-scenarios a,b] [-strategies a,b] [-restarts n] [-seed n] [-parallel n] [-json] [-write ../docs]
//
// Every pair of a scenario and a strategy is a process of its own, in a network
// namespace of its own; the servers are further processes, of uid 65534 and
// without capabilities. A link with a round-trip time and losses is a pair of
// TUN devices between two namespaces. It needs root, and touches no network but
// those.
//
// With -loads, the scenarios are those of ordinary HTTP clients, which pause, look
// or do not look whether the server has closed, and so on. What clients have lost is held
// against what handover.HTTPServer's Shutdown returned; the control is that of
// http.Server.
//
// -write puts the table and a plot of it into the documents: guide.md, between
// its markers, and restart.svg. The table of -loads has its own markers.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"strings"
	"time"
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
	ofLoads := flag.Bool("loads", false, "the loads of ordinary HTTP clients instead of the other scenarios")
	short := flag.Bool("short", false, "a few scenarios and restarts: what the test runs")
	only := flag.String("scenarios", "", "comma-separated `names`, default all")
	strategies := flag.String("strategies", "", "comma-separated `names`, default all but none")
	restarts := flag.Int("restarts", 0, "restarts of each scenario and strategy, default 20, with -short 4")
	seed := flag.Uint64("seed", 1, "of losses on the link and of the clients' pauses")
	parallel := flag.Int("parallel", 0, "how many run at once, default 1, with -loads 12: those pause most of the time")
	asJSON := flag.Bool("json", false, "print results as JSON, one a line")
	write := flag.String("write", "", "also write the documents in this `directory`")
	flag.Parse()

	all, most := scenarios(), 1
	if *ofLoads {
		all, most = loads(), 12
	}
	cells, err := plan(all, *short, *only, *strategies)
	if err != nil {
		return err
	}
	for i := range cells {
		cells[i].Seed = *seed
		cells[i].Restarts = cmp.Or(*restarts, cells[i].Restarts)
	}
	began := time.Now()
	results, err := runAll(cells, cmp.Or(*parallel, most), *asJSON)
	if err != nil {
		return err
	}
	command := strings.Join(append([]string{"go run ./restart"}, os.Args[1:]...), " ")
	d := document{command: command, took: time.Since(began), begin: tableBegin, end: tableEnd, tables: table, plot: plot}
	if *ofLoads {
		d.begin, d.end, d.tables, d.plot = loadsBegin, loadsEnd, loadsTable, nil
	}
	if !*asJSON {
		fmt.Println(d.tables(results))
	}
	if *write != "" {
		return d.write(*write, results)
	}
	return nil
}
