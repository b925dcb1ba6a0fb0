package inuse_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

// unixHolder is a process that has a unix socket, open to all or, with a third argument, to
// its user.
func unixHolder(args []string) error {
	sock, err := openUnix(args[0], args[1])
	if err != nil {
		return err
	}
	defer sock.Close()
	if len(args) < 3 && !strings.HasPrefix(args[1], "@") {
		if err := os.Chmod(args[1], 0o777); err != nil {
			return err
		}
	}
	fmt.Println("ok")
	bufio.NewReader(os.Stdin).ReadString('\n')
	return nil
}

func holdUnix(t testing.TB, uid int, args ...string) *testnet.Process {
	t.Helper()
	p := testnet.Start(t, uid, "unixHolder", args...)
	if line := p.Line(t); line != "ok" {
		t.Fatalf("unixHolder: %q", line)
	}
	return p
}

// openUnix binds as package net does, and leaves the file behind when closed.
func openUnix(network, path string) (io.Closer, error) {
	if network == "unixgram" {
		return net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
	}
	ln, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err == nil {
		ln.SetUnlinkOnClose(false)
	}
	return ln, err
}

// leaveFile leaves a socket file behind.
func leaveFile(t testing.TB, path string) {
	t.Helper()
	sock, err := openUnix("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	sock.Close()
}

// ownPlaces gives the calling goroutine its own /run, /tmp and /srv.
func ownPlaces(t *testing.T) {
	t.Helper()
	testnet.NeedSocketTypes(t)
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	mountNamespace(t)
	for dir, mode := range map[string]string{"/run": "mode=755", "/tmp": "mode=1777", "/srv": "mode=755"} {
		if err := unix.Mount("none", dir, "tmpfs", 0, mode); err != nil {
			t.Skipf("needs to mount on %s: %v", dir, err)
		}
	}
}

// ages are those of files and processes.
var ages = regexp.MustCompile(`(created|started) \d+ (s|min) ago`)

// aged returns a text with the ages of the golden ones.
func aged(text string) string { return ages.ReplaceAllString(text, "$1 2 days ago") }

// saysOf is says for texts with ages.
func saysOf(t testing.TB, err error, cause inuse.Cause, text string) *inuse.Error {
	t.Helper()
	e := explained(t, err)
	if e.Cause != cause || aged(e.Text()) != text {
		t.Errorf("cause %q, want %q; prints\n%swant\n%s", e.Cause, cause, e.Text(), text)
	}
	return e
}

func TestStale(t *testing.T) {
	testnet.NeedNative(t)
	t.Parallel()
	ownPlaces(t)
	leaveFile(t, "/run/nginx.sock")
	saysOf(t, refused(t, "unix", "/run/nginx.sock"), inuse.CauseStale, goldenText(t, "9"))
	if err := os.Remove("/run/nginx.sock"); err != nil {
		t.Fatal(err)
	}
	passes(t, "unix", "/run/nginx.sock")

	leaveFile(t, "/tmp/app.sock")
	nobodys := texting{attr: as(nobody)}
	wantText(t, aged(nobodys.run(t, "unix", "/tmp/app.sock")), inuse.CauseStalePerhaps, goldenText(t, "10"))
	e := explained(t, refused(t, "unix", "/tmp/app.sock")) // as root
	wantCause(t, e, inuse.CauseStale, 0)
	// A user whose file it is may remove it.
	if err := os.Chown("/tmp/app.sock", nobody, nobody); err != nil {
		t.Fatal(err)
	}
	got := nobodys.run(t, "unix", "/tmp/app.sock")
	if !strings.HasPrefix(got, "stale\n") || !strings.HasSuffix(got, "remove the file:\n    rm /tmp/app.sock\n") {
		t.Errorf("prints\n%s", got)
	}
	// One who can connect, but not remove.
	if err := os.Chown("/tmp/app.sock", 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("/tmp/app.sock", 0o777); err != nil {
		t.Fatal(err)
	}
	got = nobodys.run(t, "unix", "/tmp/app.sock")
	if !strings.HasPrefix(got, "stale\n") || !strings.Contains(got, "    sudo rm /tmp/app.sock\nNote: only root") {
		t.Errorf("prints\n%s", got)
	}
	// A name that a shell would take apart.
	const odd = "/tmp/a b'c.sock"
	leaveFile(t, odd)
	e = explained(t, refused(t, "unix", odd))
	if want := `rm '/tmp/a b'\''c.sock'`; e.Remedies[0].Command != want {
		t.Errorf("command %s, want %s", e.Remedies[0].Command, want)
	}
}

func TestNotSocket(t *testing.T) {
	testnet.NeedNative(t)
	t.Parallel()
	ownPlaces(t)
	const path = "/var/run/docker.sock"
	if target, err := filepath.EvalSymlinks("/var/run"); err != nil || target != "/run" {
		t.Skip("needs /var/run")
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	saysOf(t, refused(t, "unix", path), inuse.CauseNotSocket, goldenText(t, "11"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	passes(t, "unix", path)
	for what, make := range map[string]func(string) error{
		"a file":                     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a directory":                func(path string) error { return os.MkdirAll(filepath.Join(path, "more"), 0o700) },
		"a symbolic link to nowhere": func(path string) error { return os.Symlink("nowhere", path) },
		"a named pipe":               func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		for _, network := range []string{"unix", "unixpacket", "unixgram"} {
			path := "/run/" + strings.ReplaceAll(what, " ", "-") + network
			if err := make(path); err != nil {
				t.Fatal(err)
			}
			e := explained(t, failed(t, reuse.Addr, network, path))
			wantCause(t, e, inuse.CauseNotSocket, 0)
			end := "To fix it, choose another path.\n"
			if what == "a file" { // nothing else is to be moved by somebody who may need it
				wantRemedies(t, e, "other-path", "move-away")
				end += "Or move it away, if nobody needs it:\n    mv " + path + " " + path + ".old\n"
			} else {
				wantRemedies(t, e, "other-path")
			}
			if text := e.Text(); !strings.HasPrefix(text, path+" is "+what+", not a socket.\n") || !strings.HasSuffix(text, end) {
				t.Errorf("prints\n%s", text)
			}
			if err := os.Rename(path, path+".old"); err != nil {
				t.Fatal(err)
			}
			listens(t, reuse.Addr, network, path)
		}
	}
}

func TestPathTooLong(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedSocketTypes(t)
	const most = 107
	for _, network := range []string{"unix", "unixgram"} {
		path := "/tmp/" + strings.Repeat("x", 141-len("/tmp/"))
		says(t, refused(t, network, path), inuse.CausePathTooLong, goldenText(t, "12"))
		e := explained(t, refused(t, network, "@"+strings.Repeat("x", most+1)))
		if text := e.Text(); !strings.Contains(text, "108 bytes, and 107 are possible") {
			t.Errorf("prints\n%s", text)
		}
		sock, err := open(network, fmt.Sprintf("@%0*d", most, os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		sock.Close()
	}
	t.Chdir(t.TempDir())
	passes(t, "unix", "relative.sock")
}

func TestNoDirectory(t *testing.T) {
	testnet.NeedNative(t)
	t.Parallel()
	ownPlaces(t)
	const path = "/run/app/app.sock"
	says(t, refused(t, "unix", path), inuse.CauseNoDirectory, goldenText(t, "12b"))
	if err := os.Mkdir("/run/app", 0o755); err != nil {
		t.Fatal(err)
	}
	passes(t, "unix", path)

	// As another user, who may not make it, nor then make a file in it.
	nobodys := texting{attr: as(nobody)}
	got := nobodys.run(t, "unix", "/run/other/app.sock")
	if !strings.Contains(got, "may not write to /run.\n") {
		t.Errorf("prints\n%s", got)
	}
	wantText(t, aged(nobodys.run(t, "unix", path)), inuse.CauseDirectoryDenied, goldenText(t, "12c", "alice", "nobody"))
	if err := os.Chmod("/run/app", 0o700); err != nil {
		t.Fatal(err)
	}
	got = nobodys.run(t, "unix", "/run/app/more/app.sock")
	if !strings.HasPrefix(got, "directory-denied\n") || !strings.Contains(got, "may not write to /run/app.\n  drwx------ /run/app, user root\n") {
		t.Errorf("prints\n%s", got)
	}
	if err := os.Chown("/run/app", nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if got := nobodys.run(t, "unix", path); got != "passes\n" {
		t.Errorf("in a directory of its own: %s", got)
	}

	for _, test := range []struct {
		make       func() error
		path, text string
		mend       func() error
	}{
		{
			func() error { return os.WriteFile("/run/file", nil, 0o600) }, "/run/file/app.sock",
			"/run/file/app.sock cannot be created: /run/file is a file, not a directory.\nTo fix it, choose another path.\n",
			func() error { os.Rename("/run/file", "/run/file.old"); return os.Mkdir("/run/file", 0o700) },
		}, {
			func() error { return os.Symlink("../srv/nowhere", "/run/link") }, "/run/link/app.sock",
			"/run/link/app.sock cannot be created: the directory /srv/nowhere does not exist.\nTo fix it, create it:\n    mkdir -p /srv/nowhere\n",
			func() error { return os.MkdirAll("/srv/nowhere", 0o700) },
		}, {
			func() error { return nil }, "/srv/a/b/app.sock",
			"/srv/a/b/app.sock cannot be created: the directory /srv/a/b does not exist.\nTo fix it, create it:\n    mkdir -p /srv/a/b\n",
			func() error { return os.MkdirAll("/srv/a/b", 0o700) },
		}, {
			func() error { return unix.Mount("none", "/srv", "tmpfs", unix.MS_RDONLY, "") }, "/srv/app.sock",
			"/srv/app.sock cannot be created: the file system of /srv is read-only.\nTo fix it, choose another path.\n",
			func() error { return unix.Unmount("/srv", 0) },
		}, {
			func() error { return unix.Mount("none", "/srv", "sysfs", 0, "") }, "/srv/app.sock",
			"/srv/app.sock cannot be created: the file system of /srv has no sockets.\nTo fix it, choose another path.\n",
			func() error { return unix.Unmount("/srv", 0) },
		},
	} {
		if err := test.make(); err != nil {
			t.Fatal(err)
		}
		e := explained(t, refused(t, "unix", test.path))
		if text := e.Text(); text != test.text {
			t.Errorf("prints\n%swant\n%s", text, test.text)
		}
		if err := test.mend(); err != nil {
			t.Fatal(err)
		}
		passes(t, "unix", test.path)
	}
}

func TestUnix(t *testing.T) {
	testnet.NeedNative(t)
	testnet.NeedSocketTypes(t)
	testnet.NeedTables(t)
	t.Chdir(t.TempDir())
	for _, network := range []string{"unix", "unixpacket", "unixgram"} {
		path := network + ".socket"
		live, err := openUnix(network, path)
		if err != nil {
			t.Fatal(err)
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{path, absolute} {
			e := explained(t, failed(t, reuse.Addr, network, path))
			wantCause(t, e, inuse.CauseSelf, 1)
			wantRemedies(t, e, "close-first")
			if h := e.Holders[0]; h.Path != path || h.Network != network || h.Processes[0].PID != os.Getpid() {
				t.Errorf("holder %+v", h)
			}
		}
		if network == "unixgram" { // a client's own address
			_, err := net.DialUnix(network, &net.UnixAddr{Name: path, Net: network}, &net.UnixAddr{Name: absolute, Net: network})
			wantCause(t, explained(t, err), inuse.CauseSelf, 1)
		}
		live.Close() // the file stays
		_, err = openUnix(network, path)
		e := explained(t, err)
		wantCause(t, e, inuse.CauseStale, 0)
		if command := e.Remedies[0].Command; command != "rm "+absolute {
			t.Errorf("command %q", command)
		}
		os.Remove(path)
		wantCause(t, explained(t, err), inuse.CauseFree, 0)
		listens(t, reuse.Addr, network, path)

		abstract := fmt.Sprintf("@%s-%d", network, os.Getpid())
		if live, err = openUnix(network, abstract); err != nil {
			t.Fatal(err)
		}
		err = failed(t, reuse.Addr, network, abstract)
		wantCause(t, explained(t, err), inuse.CauseSelf, 1)
		live.Close()
		wantCause(t, explained(t, err), inuse.CauseFree, 0)
		listens(t, reuse.Addr, network, abstract)
	}
}

// TestUnixHolder: a process of another user, of the same network namespace or of another.
func TestUnixHolder(t *testing.T) {
	testnet.NeedNative(t)
	t.Parallel()
	ownPlaces(t)
	nobodys := texting{attr: as(nobody)}
	const path = "/srv/app.sock"
	for _, network := range []string{"unix", "unixgram"} {
		for _, closed := range []bool{false, true} { // to others than its user
			args := []string{network, path}
			if closed {
				args = append(args, "closed")
			}
			p := holdUnix(t, 0, args...)
			err := refused(t, network, path)
			e := explained(t, err)
			wantCause(t, e, inuse.CauseListener, 1)
			wantRemedies(t, e, "stop-process")
			if h := e.Holders[0]; len(h.Processes) != 1 || h.Processes[0].PID != p.Process.Pid {
				t.Errorf("holder %+v, want process %d", h, p.Process.Pid)
			}
			got := nobodys.run(t, network, path)
			if !strings.HasPrefix(got, "hidden\n"+path+" is in use by a process of user root.\n  a process ") ||
				!strings.Contains(got, "    sudo whyinuse "+path+"\nNot seen: which process it is, as it is another user's.\n") {
				t.Errorf("prints\n%s", got)
			}
			p.Stop(t)
			wantCause(t, explained(t, err), inuse.CauseStale, 0)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			passes(t, network, path)
			os.Remove(path)
		}
	}
	// An abstract name.
	abstract := fmt.Sprintf("@/tmp/.X11-unix/X%d", os.Getpid())
	p := holdUnix(t, nobody, "unix", abstract)
	e := explained(t, refused(t, "unix", abstract))
	text := goldenText(t, "40", "@/tmp/.X11-unix/X77", abstract, "Xvfb", e.Holders[0].Name, "1402", fmt.Sprint(p.Process.Pid), "alice", "nobody", ", started 5 h ago", "")
	if got := strings.ReplaceAll(aged(e.Text()), ", started 2 days ago", ""); got != text {
		t.Errorf("prints\n%swant\n%s", got, text)
	}
	p.Stop(t)
	passes(t, "unix", abstract)
}

func TestOtherNetwork(t *testing.T) {
	testnet.NeedNative(t)
	t.Parallel()
	ownPlaces(t)
	const path = "/srv/app.sock"
	p := holdUnix(t, 0, "unix", path)
	closed := holdUnix(t, 0, "unix", "/srv/closed.sock", "closed")
	inside := holdUnix(t, 0, "unix", "@inside")
	if err := os.Mkdir("/srv/own", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown("/srv/own", nobody, nobody); err != nil {
		t.Fatal(err)
	}
	own := holdUnix(t, nobody, "unix", "/srv/own/app.sock")
	testnet.Namespace(t)
	e := explained(t, refused(t, "unix", path))
	wantCause(t, e, inuse.CauseOtherNetns, 1)
	wantRemedies(t, e, "stop-process")
	if h := e.Holders[0]; len(h.Processes) != 1 || h.Processes[0].PID != p.Process.Pid || h.State != "LISTEN" || h.User != "root" {
		t.Errorf("holder %+v, want process %d", h, p.Process.Pid)
	}
	nobodys := texting{attr: as(nobody)}
	want := path + " is in use by a process of another network namespace, such as a container's.\n"
	if got := nobodys.run(t, "unix", path); !strings.HasPrefix(got, "other-netns\n"+want) || !strings.Contains(got, "    sudo whyinuse "+path+"\n") ||
		!strings.Contains(got, "Not seen: other network namespaces, such as those of containers.\n") {
		t.Errorf("prints\n%s", got)
	}
	// An ordinary user may look into other network namespaces where its own processes are.
	if got := nobodys.run(t, "unix", "/srv/own/app.sock"); !strings.HasPrefix(got, "other-netns\n/srv/own/app.sock is in use by ") ||
		!strings.Contains(got, fmt.Sprintf("(pid %d) listens on /srv/own/app.sock, user nobody", own.Process.Pid)) || strings.Contains(got, "Not seen") {
		t.Errorf("prints\n%s", got)
	}
	// One to which others may not connect.
	if got := nobodys.run(t, "unix", "/srv/closed.sock"); !strings.HasPrefix(got, "stale-perhaps\n") {
		t.Errorf("prints\n%s", got)
	}
	wantCause(t, explained(t, refused(t, "unix", "/srv/closed.sock")), inuse.CauseOtherNetns, 1)
	passes(t, "unix", "@inside") // abstract names are of each namespace

	for _, p := range []*testnet.Process{p, closed, inside, own} {
		p.Stop(t)
	}
	wantCause(t, explained(t, refused(t, "unix", path)), inuse.CauseStale, 0)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	passes(t, "unix", path)
}

// newCgroup makes a cgroup, in the hierarchy that systemd uses.
func newCgroup(t testing.TB, name string) string {
	t.Helper()
	for _, mount := range []string{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		var stat unix.Statfs_t
		if unix.Statfs(mount, &stat) != nil || stat.Type != unix.CGROUP2_SUPER_MAGIC && stat.Type != unix.CGROUP_SUPER_MAGIC {
			continue
		}
		dir := filepath.Join(mount, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("needs a cgroup: %v", err)
		}
		t.Cleanup(func() { os.Remove(dir) })
		return dir
	}
	t.Skip("needs cgroups")
	return ""
}

// TestSocketOfContainer: the directory of a socket is shared with a container, which has its
// own network.
func TestSocketOfContainer(t *testing.T) {
	testnet.NeedNative(t)
	t.Parallel()
	ownPlaces(t)
	id := fmt.Sprintf("4f2a9c1b%04x", os.Getpid()%0x10000)
	cgroup := newCgroup(t, "docker-"+id+strings.Repeat("5a", 26)+".scope")
	if err := os.Mkdir("/srv/app", 0o755); err != nil {
		t.Fatal(err)
	}
	p := holdUnix(t, 0, "unix", "/srv/app/app.sock")
	if err := os.WriteFile(cgroup+"/cgroup.procs", fmt.Append(nil, p.Process.Pid), 0); err != nil {
		t.Skipf("needs a cgroup: %v", err)
	}
	testnet.Namespace(t)
	err := refused(t, "unix", "/srv/app/app.sock")
	e := explained(t, err)
	wantCause(t, e, inuse.CauseOtherNetns, 1)
	text := goldenText(t, "43", "4f2a9c1b2d3e", id, "python3 app.py", e.Holders[0].Name, "2642", fmt.Sprint(p.Process.Pid), ",\n    user", ", user")
	if got := strings.ReplaceAll(aged(e.Text()), ",\n    user", ", user"); got != text {
		t.Errorf("prints\n%swant\n%s", got, text)
	}
	p.Stop(t) // as docker stop does
	if err := os.Remove("/srv/app/app.sock"); err != nil {
		t.Fatal(err)
	}
	passes(t, "unix", "/srv/app/app.sock")
}

// TestOtherNetworkLeavesNothing: not parallel to others, which have descriptors and threads.
func TestOtherNetworkLeavesNothing(t *testing.T) {
	testnet.NeedNative(t)
	ownPlaces(t)
	const path = "/srv/app.sock"
	p := holdUnix(t, 0, "unix", path)
	testnet.Namespace(t)
	err := refused(t, "unix", path)
	wantCause(t, explained(t, err), inuse.CauseOtherNetns, 1)
	descriptors, goroutines := testnet.Descriptors(t), runtime.NumGoroutine()
	own, err2 := os.Readlink("/proc/thread-self/ns/net")
	if err2 != nil {
		t.Fatal(err2)
	}
	for range 20 {
		inuse.Explain(err)
	}
	if now := testnet.Descriptors(t); now > descriptors {
		t.Errorf("%d descriptors before, %d after", descriptors, now)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, now)
	}
	// No thread is left in the other namespace but those that were there.
	if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now != own {
		t.Errorf("in %s before, %s after: %v", own, now, err)
	}
	p.Stop(t)
}

// TestUnixDevice: two file systems number their files alike, and the names are the same.
func TestUnixDevice(t *testing.T) {
	testnet.NeedNative(t)
	t.Parallel()
	ownPlaces(t)
	var inodes []uint64
	for _, dir := range []string{"/srv", "/run"} {
		live, err := net.Listen("unix", dir+"/x.socket")
		if err != nil {
			t.Fatal(err)
		}
		defer live.Close()
		var stat unix.Stat_t
		if err := unix.Stat(dir+"/x.socket", &stat); err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, stat.Ino)
	}
	if inodes[0] != inodes[1] {
		t.Fatalf("the files have different numbers: %v", inodes)
	}
	p := holdUnix(t, 0, "unix", "/run/y.socket")
	for _, path := range []string{"/srv/x.socket", "/run/x.socket"} {
		e := explained(t, refused(t, "unix", path))
		wantCause(t, e, inuse.CauseSelf, 1)
	}
	wantCause(t, explained(t, refused(t, "unix", "/run/y.socket")), inuse.CauseListener, 1)
	p.Stop(t)
	// Where two are one.
	for _, dir := range []string{"/srv/lower", "/srv/upper", "/srv/work", "/srv/both"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("none", "/srv/both", "overlay", 0, "lowerdir=/srv/lower,upperdir=/srv/upper,workdir=/srv/work"); err != nil {
		t.Skipf("needs overlayfs: %v", err)
	}
	p = holdUnix(t, 0, "unix", "/srv/both/y.socket")
	wantCause(t, explained(t, refused(t, "unix", "/srv/both/y.socket")), inuse.CauseListener, 1)
	p.Stop(t)
}
