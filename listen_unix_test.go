//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reuse_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

var unixNetworks = []string{"unix", "unixpacket", "unixgram"}

// listenUnix is Listen or ListenPacket, whichever network is for.
func listenUnix(network, path string) (io.Closer, error) {
	if network == "unixgram" {
		return reuse.ListenPacket(network, path)
	}
	return reuse.Listen(network, path)
}

func netListenUnix(network, path string) (io.Closer, error) {
	if network == "unixgram" {
		return net.ListenPacket(network, path)
	}
	return net.Listen(network, path)
}

// leaveStale leaves a socket file at path whose owner is gone.
func leaveStale(t testing.TB, network, path string) {
	t.Helper()
	fd, err := bindUnix(network, path)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

func bindUnix(network, path string) (fd int, err error) {
	kind := map[string]int{"unix": unix.SOCK_STREAM, "unixpacket": unix.SOCK_SEQPACKET, "unixgram": unix.SOCK_DGRAM}[network]
	fd, err = unix.Socket(unix.AF_UNIX, kind, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// supportsUnix skips the test where the system has no such sockets.
func supportsUnix(t testing.TB, network string) {
	t.Helper()
	c, err := netListenUnix(network, filepath.Join(t.TempDir(), "supported"))
	if errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.EPROTOTYPE) {
		t.Skipf("%s: %v", network, err)
	}
	if err == nil {
		c.Close()
	}
}

// needTells skips the test where a live socket's file looks like a stale one, after
// it saw that the package says so, and leaves the file.
func needTells(t testing.TB) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "live")
	live, err := net.Listen("unix", path)
	if err != nil {
		t.Skip(err)
	}
	defer live.Close()
	c, err := reuse.Listen("unix", path)
	if err == nil {
		c.Close()
	}
	wantInUse(t, "live", err)
	reachable(t, "unix", path)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs a system that tells live sockets from stale ones: ", err)
	}
}

func TestStale(t *testing.T) {
	needTells(t)
	for _, network := range unixNetworks {
		t.Run(network, func(t *testing.T) {
			supportsUnix(t, network)
			for _, former := range unixNetworks {
				t.Chdir(t.TempDir())
				leaveStale(t, former, "socket")
				_, err := netListenUnix(network, "socket")
				wantInUse(t, "package net", err)

				c, err := listenUnix(network, "socket")
				if err != nil {
					t.Fatalf("over a stale file of %s: %v", former, err)
				}
				reachable(t, network, "socket")
				_, err = listenUnix(network, "socket")
				wantInUse(t, "again", err)
				reachable(t, network, "socket")
				c.Close()
				if files := names(t); len(files) != 0 && network != "unixgram" {
					t.Errorf("files after Close: %q", files)
				}
			}
		})
	}
}

// longestPath is the most that the address of a unix socket has room for, with
// the zero at its end.
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// A file is replaced also if its path is as long as paths can be, and there is no
// other directory.
func TestStaleLongPath(t *testing.T) {
	needTells(t)
	t.Chdir(t.TempDir())
	dir := strings.Repeat("d", longestPath-len("/s"))
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(dir[1:], 0o700)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", "nowhere")
	for _, path := range []string{dir + "/s", dir[1:] + "/s", dir + "/ss"} {
		if len(path) > longestPath {
			if c, err := listenUnix("unix", path); err == nil {
				c.Close()
				t.Errorf("control: a path of %d bytes is not too long", len(path))
			}
			continue
		}
		leaveStale(t, "unix", path)
		c, err := listenUnix("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		reachable(t, "unix", path)
		c.Close()
	}
}

// reachable fails the test unless a client can connect to path.
func reachable(t testing.TB, network, path string) {
	t.Helper()
	client, err := net.Dial(network, path)
	if err != nil {
		t.Errorf("nobody is at %s: %v", path, err)
		return
	}
	client.Close()
}

// names returns the names of the files in the working directory.
func names(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

var errAny = errors.New("any")

// What is not a stale socket file is left alone.
func TestNotStale(t *testing.T) {
	needTells(t)
	listening := func(owner string) func(testing.TB, string) {
		return func(t testing.TB, path string) {
			c, err := netListenUnix(owner, path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}
	}
	bound := func(owner string) func(testing.TB, string) {
		return func(t testing.TB, path string) {
			fd, err := bindUnix(owner, path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
		}
	}
	for _, test := range []struct {
		name string
		make func(t testing.TB, path string)
		want error // besides EADDRINUSE, which nil says is all
	}{
		{"listening stream", listening("unix"), nil},
		{"listening packet", listening("unixpacket"), nil},
		{"bound stream", bound("unix"), nil},
		{"bound packet", bound("unixpacket"), nil},
		{"datagram", listening("unixgram"), nil},
		{"connected datagram", func(t testing.TB, path string) {
			listening("unixgram")(t, path+"-peer")
			conn, err := net.DialUnix("unixgram", &net.UnixAddr{Name: path}, &net.UnixAddr{Name: path + "-peer"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
		}, nil},
		{"full backlog", func(t testing.TB, path string) {
			fd, err := bindUnix("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			if err := unix.Listen(fd, 0); err != nil {
				t.Fatal(err)
			}
			reachable(t, "unix", path)
		}, nil},
		{"regular file", func(t testing.TB, path string) {
			if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"directory", func(t testing.TB, path string) { os.Mkdir(path, 0o700) }, nil},
		{"named pipe", func(t testing.TB, path string) { unix.Mkfifo(path, 0o600) }, nil},
		{"symlink to a stale socket", func(t testing.TB, path string) {
			leaveStale(t, "unix", path+"-target")
			os.Symlink(path+"-target", path)
		}, nil},
		{"dangling symlink", func(t testing.TB, path string) { os.Symlink("nowhere", path) }, nil},
		{"stale, its lock held", func(t testing.TB, path string) {
			leaveStale(t, "unix", path)
			f, err := os.Create(path + ".reuse-lock")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"stale, its lock somebody's file", func(t testing.TB, path string) {
			leaveStale(t, "unix", path)
			os.WriteFile(path+".reuse-lock", []byte("content"), 0o600)
		}, errAny},
		{"stale, its lock a symlink", func(t testing.TB, path string) {
			leaveStale(t, "unix", path)
			os.Symlink("elsewhere", path+".reuse-lock")
		}, unix.ELOOP},
		{"stale, its lock a directory", func(t testing.TB, path string) {
			leaveStale(t, "unix", path)
			os.Mkdir(path+".reuse-lock", 0o700)
		}, unix.EISDIR},
	} {
		for _, network := range unixNetworks {
			t.Run(test.name+"/"+network, func(t *testing.T) {
				supportsUnix(t, network)
				t.Chdir(t.TempDir())
				test.make(t, "socket")
				files := names(t)
				before, err := os.Lstat("socket")
				if err != nil {
					t.Fatal(err)
				}
				c, err := listenUnix(network, "socket")
				wantInUse(t, "listen", err)
				if err == nil {
					c.Close()
					return
				}
				_, plain := netListenUnix(network, "socket")
				if alone := err.Error() == plain.Error(); alone != (test.want == nil) {
					t.Errorf("error %v, package net's %v", err, plain)
				}
				if test.want != nil && test.want != errAny && !errors.Is(err, test.want) {
					t.Errorf("%v, want also %v", err, test.want)
				}
				after, err := os.Lstat("socket")
				if err != nil || !os.SameFile(before, after) {
					t.Errorf("the file was replaced: %v", err)
				}
				if now := names(t); !slices.Equal(now, files) {
					t.Errorf("files %q, before %q", now, files)
				}
			})
		}
	}
}

// A lock file that a killed process left is nobody's.
func TestLeftLock(t *testing.T) {
	needTells(t)
	t.Chdir(t.TempDir())
	leaveStale(t, "unix", "socket")
	if err := os.WriteFile("socket.reuse-lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := reuse.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	reachable(t, "unix", "socket")
	ln.Close()
	if files := names(t); len(files) != 0 {
		t.Errorf("files left: %q", files)
	}
}

// Only Addr replaces files, and only through Listen and ListenPacket.
func TestStaleStays(t *testing.T) {
	t.Chdir(t.TempDir())
	leaveStale(t, "unix", "socket")
	_, err := reuse.Mode(0).Listen("unix", "socket")
	wantInUse(t, "the zero Mode", err)
	_, err = reuse.Addr.ListenConfig().Listen(t.Context(), "unix", "socket")
	wantInUse(t, "ListenConfig", err)
}

func TestStarters(t *testing.T) {
	startTogether(t, testnet.Rounds(30, 3))

	t.Run("control", func(t *testing.T) {
		t.Chdir(t.TempDir())
		leaveStale(t, "unix", "socket")
		for range 2 { // what everybody writes: remove, then listen
			os.Remove("socket")
			ln, err := net.Listen("unix", "socket")
			if err != nil {
				t.Fatal("the naive way keeps a second starter out: ", err)
			}
			defer ln.Close()
		}
	})
}

// Of many that start over one stale file exactly one gets the path. Its file is
// the one at the path.
func startTogether(t *testing.T, rounds int) {
	needTells(t)
	const starters = 100
	for _, network := range unixNetworks {
		t.Run(network, func(t *testing.T) {
			supportsUnix(t, network)
			t.Chdir(t.TempDir())
			for range rounds {
				leaveStale(t, network, "socket")
				var wg sync.WaitGroup
				winners := make(chan io.Closer, starters)
				for range starters {
					wg.Go(func() {
						c, err := listenUnix(network, "socket")
						if err != nil {
							wantInUse(t, "loser", err)
							return
						}
						winners <- c
					})
				}
				wg.Wait()
				if n := len(winners); n != 1 {
					t.Fatalf("%d of %d starters have the path", n, starters)
				}
				reachable(t, network, "socket")
				if files := names(t); !slices.Equal(files, []string{"socket"}) {
					t.Errorf("files %q", files)
				}
				(<-winners).Close()
				os.Remove("socket") // Close leaves that of a datagram socket
			}
		})
	}
}

// wantInUse fails the test unless err is what package net returns for EADDRINUSE.
func wantInUse(t testing.TB, what string, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &op) {
		t.Errorf("%s: %v, want EADDRINUSE in a *net.OpError", what, err)
	}
}
