package procfs

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Command is what the program calls itself or, if the kernel cut that short, the
// name of its file.
func TestCommand(t *testing.T) {
	for _, name := range []string{"plain", "with blank", "a) b (c", "15 bytes exactly"[:15], ") S 1 1 1 1", "two\nlines", "end\n"} {
		p, _ := start(t, nil, "holder", "50", name)
		if got := proc.Command(p.Process.Pid); got != name {
			t.Errorf("%q, want %q", got, name)
		}
		if started(p.Process.Pid) < started(os.Getpid()) || started(os.Getpid()) == 0 {
			t.Errorf("%q started %d, this process %d", name, started(p.Process.Pid), started(os.Getpid()))
		}
	}
	if started(1<<30) != 0 || proc.Command(1<<30) != "" {
		t.Error("a process that is not there has a name or a start")
	}
}

// started returns the start of a process in clock ticks, 0 if it is not there.
func started(pid int) uint64 {
	p, _ := proc.Process(pid)
	return p.Start
}

func TestLongCommand(t *testing.T) {
	dir := t.TempDir()
	const long = "longer than fifteen (bytes)"
	program := filepath.Join(dir, long)
	copyProgram(t, program)
	link := filepath.Join(dir, "a link to a program")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	run := func(path string) int {
		t.Helper()
		p, _ := start(t, func(cmd *exec.Cmd) { cmd.Path = path }, "waiter")
		return p.Process.Pid
	}
	if got := proc.Command(run(program)); got != long {
		t.Errorf("%q, want %q", got, long)
	}
	// A script's interpreter has another name, as here the link's target.
	if got, want := proc.Command(run(link)), filepath.Base(link)[:15]; got != want {
		t.Errorf("through a link %q, want %q", got, want)
	}
	pid := run(program)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if got := proc.Command(pid); got != long {
		t.Errorf("removed: %q, want %q", got, long)
	}
}

func copyProgram(t testing.TB, to string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, from); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
