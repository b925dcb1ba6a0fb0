//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sockfile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

var types = map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET, "datagram": unix.SOCK_DGRAM}

// bound returns a socket that is bound to path and does not block.
func bound(t testing.TB, kind int, path string) (fd int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind, 0)
	if err == unix.EPROTONOSUPPORT {
		t.Skip("needs such a socket: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// leave leaves the file of a closed socket at path. It was a datagram socket, of
// which gVisor tells too.
func leave(t testing.TB, path string) {
	t.Helper()
	unix.Close(bound(t, unix.SOCK_DGRAM, path))
}

// Each socket is seen, in every state that it can have, and notices nothing of
// it. Its file stays when it is closed, and is seen to be stale.
func TestProbe(t *testing.T) {
	for name, kind := range types {
		for _, listening := range []bool{false, true} {
			if listening && kind == unix.SOCK_DGRAM {
				continue
			}
			if listening {
				name += " that listens"
			}
			t.Run(name, func(t *testing.T) {
				t.Chdir(t.TempDir())
				fd := bound(t, kind, "socket")
				if listening {
					if err := unix.Listen(fd, 1); err != nil {
						t.Fatal(err)
					}
				}
				unsupported := false
				for range 5 { // more than its queue has room for
					state, err := Probe("socket")
					if unsupported = errors.Is(err, errors.ErrUnsupported); !unsupported {
						wantState(t, Live, state, err)
					}
				}
				if listening {
					if _, _, err := unix.Accept(fd); err != unix.EAGAIN {
						t.Errorf("accept: %v, want EAGAIN: nobody has connected", err)
					}
				} else if _, _, err := unix.Recvfrom(fd, make([]byte, 1), 0); kind == unix.SOCK_DGRAM && err != unix.EAGAIN {
					t.Errorf("receive: %v, want EAGAIN: nobody has sent", err)
				}
				unix.Close(fd)
				state, err := Probe("socket")
				if unsupported && state == Unknown && errors.Is(err, errors.ErrUnsupported) {
					t.Skip("needs a system that tells live sockets from stale ones: ", err)
				}
				wantState(t, Stale, state, err)
				if state, err = Remove("socket"); err != nil || state != Gone {
					t.Errorf("Remove: %v, %v, want gone", state, err)
				}
				state, err = Probe("socket")
				wantState(t, Gone, state, err)
			})
		}
	}
}

func wantState(t testing.TB, want, state State, err error) {
	t.Helper()
	if state != want || err != nil {
		t.Errorf("%v, %v, want %v", state, err, want)
	}
}

// What is not a socket file stays.
func TestNotSocket(t *testing.T) {
	t.Chdir(t.TempDir())
	leave(t, "socket")
	for name, create := range map[string]func() error{
		"file":         func() error { return os.WriteFile("file", nil, 0o600) },
		"directory":    func() error { return os.Mkdir("directory", 0o700) },
		"pipe":         func() error { return unix.Mkfifo("pipe", 0o600) },
		"link":         func() error { return os.Symlink("socket", "link") },
		"link nowhere": func() error { return os.Symlink("nowhere", "link nowhere") },
	} {
		if err := create(); err != nil {
			t.Fatal(err)
		}
		state, err := Probe(name)
		wantState(t, NotSocket, state, err)
		state, err = Remove(name)
		wantState(t, NotSocket, state, err)
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestIsFile(t *testing.T) {
	for address, want := range map[string]bool{"/run/socket": true, "./@socket": true, "\x00socket": false, "": true} {
		if got := IsFile(address); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
	if absolute, err := filepath.Abs("@socket"); err != nil || !IsFile(absolute) {
		t.Errorf("%s: not a file (%v)", absolute, err)
	}
}
