package procfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCgroup(t *testing.T) {
	_, mount := proc.cgroupMount()
	if mount == "" {
		t.Skip("needs cgroup2")
	}
	testCgroup(t, mount)
}

// TestCgroupMount has cgroup2 at a path with blanks only.
func TestCgroupMount(t *testing.T) {
	needsRoot(t, "to mount cgroup2")
	at := filepath.Join(t.TempDir(), `with blank, tab	and \040`)
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	mountNamespace(t)
	for {
		_, mount := proc.cgroupMount()
		if mount == "" {
			break
		}
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Fatal(mount, err)
		}
	}
	if c := proc.FindCgroup(t.Context(), 1); c.Path != "" {
		t.Errorf("without cgroup2: %+v", c)
	}
	if err := unix.Mount("none", at, "cgroup2", 0, ""); err != nil {
		t.Skipf("needs cgroup2: %v", err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	root, mount := proc.cgroupMount()
	if root != "" || mount != at {
		t.Fatalf("%q of %q, want %q", root, mount, at)
	}
	testCgroup(t, mount)

	// A part of the hierarchy, mounted alone.
	part := filepath.Join(at, fmt.Sprintf("procfs part-%d", os.Getpid()))
	below := filepath.Join(part, "below")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Skipf("needs a writable cgroup2: %v", err)
	}
	defer os.Remove(part)
	defer os.Remove(below)
	id, idOfPart := directory(t, below), directory(t, part)
	there := t.TempDir()
	if err := unix.Mount(part, there, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(there, unix.MNT_DETACH)
	want := "/" + filepath.Base(part) + "/below"
	if c := proc.FindCgroup(t.Context(), id); c.Path != want {
		t.Errorf("in the whole: %+v, want %s", c, want)
	}
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if c := proc.FindCgroup(t.Context(), id); c.Path != want {
		t.Errorf("in the part: %+v, want %s", c, want)
	}
	if c := proc.FindCgroup(t.Context(), idOfPart); c.Path != "/"+filepath.Base(part) {
		t.Errorf("the part: %+v", c)
	}
	if err := unix.Mount("none", at, "cgroup2", 0, ""); err != nil { // to remove them
		t.Fatal(err)
	}
}

func directory(t testing.TB, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func testCgroup(t *testing.T, mount string) {
	t.Helper()
	if root := proc.FindCgroup(t.Context(), directory(t, mount)); root.Path != "/" {
		t.Errorf("the root is %+v", root)
	}
	if none := proc.FindCgroup(t.Context(), 1<<60); none.Path != "" || none.Processes() != nil {
		t.Errorf("%+v", none)
	}
	if none := proc.FindCgroup(t.Context(), 0); none.Path != "" {
		t.Errorf("the unknown is %+v", none)
	}
	dir := filepath.Join(mount, fmt.Sprintf("procfs test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("needs a writable cgroup2: %v", err)
	}
	defer os.Remove(dir)
	id := directory(t, dir)
	if c := proc.FindCgroup(t.Context(), id); c.Path != "/"+filepath.Base(dir) || len(c.Processes()) != 0 {
		t.Errorf("empty: %+v with processes %v", c, c.Processes())
	}
	p, _ := start(t, nil, "waiter")
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.Process.Pid)), 0); err != nil {
		t.Skipf("needs to move processes between cgroups: %v", err)
	}
	c := proc.FindCgroup(t.Context(), id)
	if c.Path != "/"+filepath.Base(dir) || !slices.Equal(c.Processes(), []int{p.Process.Pid}) {
		t.Errorf("%+v with processes %v", c, c.Processes())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if c := proc.FindCgroup(ended, id); c.Path != "" {
		t.Errorf("with an ended context: %+v", c)
	}
	p.Process.Kill()
	p.Wait()
	if err := os.Remove(dir); err != nil {
		t.Error(err)
	}
	if c := proc.FindCgroup(t.Context(), id); c.Path != "" || c.Processes() != nil {
		t.Errorf("removed: %+v", c)
	}
}
