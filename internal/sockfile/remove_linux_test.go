package sockfile

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watch returns a function that waits for files to be made in the working
// directory, and returns their names.
func watch(t testing.TB) (created func() []string) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, ".", unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	return func() (names []string) {
		events := make([]byte, 4096)
		n, err := unix.Read(fd, events)
		if err != nil {
			t.Fatal(err)
		}
		for events = events[:n]; len(events) > 0; {
			name := events[unix.SizeofInotifyEvent:]
			size := binary.NativeEndian.Uint32(events[12:]) // of the name with its padding
			names = append(names, string(bytes.TrimRight(name[:size], "\x00")))
			events = name[size:]
		}
		return names
	}
}

// A file that took the place of the stale one, while that was looked at, stays.
// Without it the stale one is removed: the control.
func TestReplacedMeanwhile(t *testing.T) {
	for range 20 {
		t.Chdir(t.TempDir())
		leave(t, "socket")
		// Times can be as coarse as a second, and the new file can get the number
		// of this one.
		if err := os.Chtimes("socket", time.Time{}, time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		created := watch(t)
		type result struct {
			state State
			err   error
		}
		removed := make(chan result, 1)
		go func() {
			state, err := Remove("socket")
			removed <- result{state, err}
		}()
		for locked := false; !locked; {
			for _, name := range created() {
				locked = locked || name == "socket.reuse-lock"
			}
		}
		os.Remove("socket")
		leave(t, "socket")
		_, late := os.Lstat("socket.reuse-lock")
		r := <-removed
		if late != nil {
			continue // this test was too late
		}
		wantState(t, Live, r.state, r.err)
		if _, err := os.Lstat("socket"); err != nil {
			t.Errorf("the new file: %v", err)
		}
		state, err := Remove("socket")
		wantState(t, Gone, state, err)
		return
	}
	t.Fatal("too late each time")
}

// Nothing is made beside the path but lock files, which are gone afterwards.
func TestFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	leave(t, "socket")
	created := watch(t)
	state, err := Remove("socket")
	wantState(t, Gone, state, err)
	leave(t, "the end")
	for ended := false; !ended; {
		for _, name := range created() {
			switch {
			case name == "the end":
				ended = true
			case !strings.HasPrefix(name, "socket.reuse-lock"):
				t.Errorf("made %q", name)
			}
		}
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}
