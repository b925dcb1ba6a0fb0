package reuse_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
)

// A path that this user may not write to stays, and the error says why.
func TestStaleNotPermitted(t *testing.T) {
	needTells(t)
	t.Chdir(t.TempDir())
	leaveStale(t, "unix", "socket")
	for name, mode := range map[string]os.FileMode{"socket": 0o777, ".": 0o555} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(".", 0o700) })
	uid := os.Getuid()
	if uid == 0 {
		uid = nobody
	}
	testnet.As(t, uid, func() {
		_, err := reuse.Listen("unix", "socket")
		wantInUse(t, "listen", err)
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "socket.reuse-lock") {
			t.Errorf("%v, want also what is not permitted", err)
		}
	})
	if files := names(t); !slices.Equal(files, []string{"socket"}) {
		t.Errorf("files %q", files)
	}
}

// An abstract address has no file, so nothing of it can be stale. A file of the
// same name is another address.
func TestAbstract(t *testing.T) {
	t.Chdir(t.TempDir())
	leaveStale(t, "unix", "./@reuse-abstract")
	ln, err := reuse.Listen("unix", "@reuse-abstract")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, address := range []string{"@reuse-abstract", "\x00reuse-abstract"} {
		_, err = reuse.Listen("unix", address)
		wantInUse(t, "again", err)
	}
	if files := names(t); !slices.Equal(files, []string{"@reuse-abstract"}) {
		t.Errorf("files %q", files)
	}
}

// starter is a process that wants the socket file args[0], as soon as it reads a
// line, until its input ends.
func starter(args []string) error {
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	ln, err := reuse.Listen("unix", args[0])
	switch {
	case err == nil:
		defer ln.Close()
		fmt.Println("won")
	case errors.Is(err, syscall.EADDRINUSE):
		fmt.Println("EADDRINUSE")
	default:
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// The same as TestStarters with processes.
func TestStarterProcesses(t *testing.T) {
	needTells(t)
	t.Chdir(t.TempDir())
	leaveStale(t, "unix", "socket")
	processes := make([]*testnet.Process, 100)
	for i := range processes {
		processes[i] = testnet.Start(t, os.Getuid(), "starter", "socket")
	}
	for _, p := range processes {
		if got := p.Line(t); got != "ready" {
			t.Fatalf("the process says %q", got)
		}
	}
	for _, p := range processes {
		fmt.Fprintln(p.In)
	}
	outcomes := map[string]int{}
	for _, p := range processes {
		outcomes[p.Line(t)]++
	}
	if outcomes["won"] != 1 || outcomes["EADDRINUSE"] != len(processes)-1 {
		t.Errorf("outcomes: %v", outcomes)
	}
	reachable(t, "unix", "socket")
	for _, p := range processes {
		p.In.Close()
	}
	for _, p := range processes {
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial("unix", "socket"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after all have gone: %v", err)
	}
}

// Replacing a file leaves no descriptor open.
func TestStaleLeak(t *testing.T) {
	needTells(t)
	t.Chdir(t.TempDir())
	before := testnet.Descriptors(t)
	for range 100 {
		leaveStale(t, "unix", "socket")
		// An old file is replaced without waiting for a bind that may run.
		if err := os.Chtimes("socket", time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		ln, err := reuse.Listen("unix", "socket")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

// The socket file of another host's server looks stale on this one, and stays.
// On a file system of this host a file like that is replaced: the control.
func TestSharedFileSystem(t *testing.T) {
	testnet.PrivateMounts(t)
	one, other := testnet.Hosts(t)
	server, err := net.Listen("unix", one+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if _, err := net.Dial("unix", other+"/socket"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("the server on the other host: %v, want that this kernel does not know it", err)
	}
	for _, network := range unixNetworks {
		c, err := listenUnix(network, other+"/socket")
		wantInUse(t, network, err)
		if err == nil {
			c.Close()
			continue
		}
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "shared file system (fuse") {
			t.Errorf("%s: %v, want also that a shared file system is not supported", network, err)
		}
	}
	reachable(t, "unix", one+"/socket")
	ln, err := reuse.Listen("unix", one+"/socket")
	wantInUse(t, "a live one", err)
	if err == nil {
		ln.Close()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a live one: %v, want only that it is in use", err)
	}
	if err := os.Remove(other + "/socket"); err != nil {
		t.Fatal(err)
	}
	ln, err = reuse.Listen("unix", other+"/socket")
	if err != nil {
		t.Fatal("after it was removed by hand: ", err)
	}
	ln.Close()

	local := testnet.Mount(t, "tmpfs", "")
	leaveStale(t, "unix", local+"/socket")
	ln, err = reuse.Listen("unix", local+"/socket")
	if err != nil {
		t.Fatal("the control: ", err)
	}
	ln.Close()
}
