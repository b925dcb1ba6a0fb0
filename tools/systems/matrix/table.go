package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The table is between these lines.
const begin, end = "<!-- matrix: begin -->", "<!-- matrix: end -->"

// A row of the table is a system and who ran the tests.
type row struct {
	system, version, as string
}

// update sets one cell of the table in file, and the row's version and date.
// Other processes may do so at once.
func update(file string, r row, column, cell string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() // and unlocks
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: no lines %s and %s", file, begin, end)
	}
	var rows [][]string
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|--") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		rows = [][]string{{"system", "version", "as", "date"}}
	}
	x := slices.Index(rows[0], column)
	if x < 0 {
		x = len(rows[0])
		for i := range rows {
			rows[i] = append(rows[i], "")
		}
		rows[0][x] = column
	}
	y := slices.IndexFunc(rows, func(cells []string) bool { return cells[0] == r.system && cells[2] == r.as })
	if y < 0 {
		y = len(rows)
		rows = append(rows, make([]string, len(rows[0])))
	}
	copy(rows[y], []string{r.system, r.version, r.as, time.Now().UTC().Format(time.DateOnly)})
	rows[y][x] = cell

	var b strings.Builder
	b.WriteString(before + begin + "\n")
	for i, cells := range rows {
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(cells)) + "|\n")
		}
	}
	b.WriteString(end + after)
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

var ended = regexp.MustCompile(`(?m)^( *)--- (PASS|FAIL|SKIP): (\S+)`)

// summary is a cell for a log of tests with -test.v. Of tests with subtests only
// those count.
func summary(log string, err error) string {
	passed, skipped := 0, 0
	var failed []string
	all := ended.FindAllStringSubmatch(log, -1)
	for i, m := range all {
		if i+1 < len(all) && len(all[i+1][1]) > len(m[1]) {
			continue
		}
		switch m[2] {
		case "PASS":
			passed++
		case "SKIP":
			skipped++
		default:
			failed = append(failed, m[3])
		}
	}
	s := fmt.Sprintf("%d run", passed)
	if skipped > 0 {
		s += fmt.Sprintf(", %d skipped", skipped)
	}
	switch {
	case len(failed) > 3:
		s += fmt.Sprintf(", %d FAIL", len(failed))
	case len(failed) > 0:
		s += ", FAIL: " + strings.Join(failed, " ")
	case err != nil && (strings.Contains(log, "panic: test timed out") || err.Error() == "exit status 124"):
		s += ", then the time limit"
	case err != nil:
		s += ", FAIL: " + err.Error()
	}
	return s
}
