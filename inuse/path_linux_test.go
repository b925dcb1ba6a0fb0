package inuse_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
	"golang.org/x/sys/unix"
)

func TestExplainUnix(t *testing.T) {
	testnet.NeedSocketTypes(t)
	testnet.NeedTables(t)
	t.Chdir(t.TempDir())
	for _, network := range []string{"unix", "unixpacket", "unixgram"} {
		t.Run(network, func(t *testing.T) {
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
				if path == absolute && len(e.Holders) == 0 { // the kernel does not tell the file
					wantCause(t, e, inuse.CauseHidden, 0)
					continue
				}
				wantCause(t, e, inuse.CauseSelf, 1)
				wantAdvice(t, e, "close it first")
				if h := e.Holders[0]; h.Path != path || h.Network != network || h.Processes[0].PID != os.Getpid() {
					t.Errorf("holder %+v", h)
				}
			}
			live.Close() // the file stays
			_, err = openUnix(network, path)
			e := explained(t, err)
			wantCause(t, e, inuse.CauseStale, 0)
			wantAdvice(t, e, "reuse.Listen", "remove "+path)
			listens(t, reuse.Addr, network, path)

			for _, other := range []string{"file", "directory", "link"} {
				path := network + other
				switch other {
				case "file":
					err = os.WriteFile(path, nil, 0o600)
				case "directory":
					err = os.Mkdir(path, 0o700)
				case "link":
					err = os.Symlink("nowhere", path)
				}
				if err != nil {
					t.Fatal(err)
				}
				wantCause(t, explained(t, failed(t, reuse.Addr, network, path)), inuse.CauseNotSocket, 0)
				if err := os.Rename(path, path+".away"); err != nil {
					t.Fatal(err)
				}
				listens(t, reuse.Addr, network, path)
			}

			abstract := fmt.Sprintf("@%s-%d", network, os.Getpid())
			live, err = openUnix(network, abstract)
			if err != nil {
				t.Fatal(err)
			}
			e = explained(t, failed(t, reuse.Addr, network, abstract))
			wantCause(t, e, inuse.CauseSelf, 1)
			err = failed(t, reuse.Addr, network, abstract)
			live.Close()
			wantCause(t, explained(t, err), inuse.CauseFree, 0)
			listens(t, reuse.Addr, network, abstract)
		})
	}
}

// Two file systems number their files alike.
func TestExplainUnixDevice(t *testing.T) {
	testnet.NeedTables(t)
	testnet.NeedRoot(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var inodes []uint64
	for _, name := range []string{"a", "b"} {
		mount := filepath.Join(dir, name)
		if err := os.Mkdir(mount, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", mount, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(mount, unix.MNT_DETACH)
		live, err := net.Listen("unix", filepath.Join(mount, "x.socket"))
		if err != nil {
			t.Fatal(err)
		}
		defer live.Close()
		var stat unix.Stat_t
		if err := unix.Stat(filepath.Join(mount, "x.socket"), &stat); err != nil {
			t.Fatal(err)
		}
		inodes = append(inodes, stat.Ino)
	}
	if inodes[0] != inodes[1] {
		t.Fatalf("the files have different numbers: %v", inodes)
	}
	a := explained(t, failed(t, reuse.Addr, "unix", filepath.Join(dir, "a", "x.socket")))
	b := explained(t, failed(t, reuse.Addr, "unix", filepath.Join(dir, "b", "x.socket")))
	wantCause(t, a, inuse.CauseSelf, 1)
	wantCause(t, b, inuse.CauseSelf, 1)
	if a.Holders[0].Inode == b.Holders[0].Inode {
		t.Errorf("one socket for both: %+v", a.Holders[0])
	}
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
