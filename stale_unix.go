//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reuse

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errNotStale says that the file at a unix socket's address must stay.
var errNotStale = errors.New("not a stale socket file")

// removeStale returns nil if cause, the error of a listen on address, came from
// a stale socket file and another try has a chance. Otherwise it returns the
// error to report.
func (m Mode) removeStale(network, address string, cause error) error {
	var op *net.OpError
	if m&Addr == 0 || !strings.HasPrefix(network, "unix") || !hasFile(address) || !inUse(cause) || !errors.As(cause, &op) {
		return cause
	}
	switch err := removeStaleFile(address); err {
	case nil:
		return nil
	case errNotStale:
		return cause
	default:
		failed := *op
		failed.Err = fmt.Errorf("%w, and its socket file cannot be replaced: %w", op.Err, err)
		return &failed
	}
}

// hasFile reports whether a unix socket's address is the name of a file. Abstract
// addresses of Linux are not, which begin with a NUL; package net takes @ for it.
func hasFile(address string) bool {
	return !strings.Contains(address, "\x00") && (runtime.GOOS != "linux" || !strings.HasPrefix(address, "@"))
}

// removeStaleFile removes the socket file at path if no socket is bound to it,
// and returns nil if the path is free afterwards.
//
// Between the look and the removal another starter could have replaced the file
// by its own, so both happen under a lock. Who finds it taken has lost: its
// holder is about to have the path.
//
// While bind runs there is a file, and its socket is not found yet. Newer Linux
// kernels keep the directory locked until that is over (unix_bind_bsd:
// done_path_create), so a file that was there before this package made one has been
// bound since. On others it is left alone until it is older than any bind should
// take.
func removeStaleFile(path string) error {
	found, err := os.Lstat(path)
	if err == nil {
		err = probe(path)
	}
	if err != nil {
		return ignoreNotExist(err)
	}
	unlock, err := lock(path + ".reuse-lock")
	if err != nil {
		return err
	}
	defer unlock()
	if err := tells(path); err != nil {
		return err
	}
	const bindTime, coarsest = 50 * time.Millisecond, 2 * time.Second // of file systems' times
	if time.Since(found.ModTime()) < bindTime+coarsest {
		time.Sleep(bindTime)
	}
	if err := probe(path); err != nil {
		return ignoreNotExist(err)
	}
	now, err := os.Lstat(path)
	switch {
	case err != nil:
		return ignoreNotExist(err)
	case !os.SameFile(found, now) || !found.ModTime().Equal(now.ModTime()):
		return errNotStale // somebody has just bound it
	}
	// Not os.Remove, which removes an empty directory as well.
	return ignoreNotExist(os.NewSyscallError("unlink", unix.Unlink(path)))
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// probe returns nil if path is a socket file that no socket is bound to,
// errNotStale if it is anything else, or why it cannot tell.
//
// It does not disturb the owner. A datagram socket that connects is noticed by
// nobody. An owner of another type answers EPROTOTYPE, whether it listens
// already or is only bound, and one that is connected to somebody else EPERM.
// ECONNREFUSED means that there is none (Linux: unix_dgram_connect; BSD:
// unp_connectat).
func probe(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errNotStale
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	switch {
	case err == nil:
		conn.Close()
		return errNotStale
	case errors.Is(err, unix.EPROTOTYPE), errors.Is(err, unix.EPERM):
		return errNotStale
	case errors.Is(err, unix.ECONNREFUSED):
		return nil
	}
	return err
}

// tells returns nil if the system answers probes as probe expects. gVisor refuses
// also one of a live listener, which would lose its file by that. So a listener
// is asked that lives for sure, next to path if there is room for its name. (Linux
// finds abstract addresses by type as well, so those are no use.)
func tells(path string) error {
	base := fmt.Sprintf(".reuse-%08x", rand.Uint32())
	name := filepath.Join(filepath.Dir(path), base)
	if len(name) >= len(unix.RawSockaddrUnix{}.Path) {
		name = filepath.Join(os.TempDir(), base)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return err
	}
	defer ln.Close()
	switch err := probe(name); err {
	case errNotStale:
		return nil
	case nil:
		return fmt.Errorf("the system does not tell live sockets from stale ones: %w", errors.ErrUnsupported)
	default:
		return err
	}
}

// lock creates and locks the file at path. It returns errNotStale if another
// process or goroutine has it. The lock ends with its holder, so a file that a
// killed process left is taken over.
func lock(path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		unlock := func() {
			os.Remove(path)
			f.Close()
		}
		opened, err := f.Stat()
		if err == nil && (!opened.Mode().IsRegular() || opened.Size() != 0) {
			err = fmt.Errorf("%s is not this package's lock file", path)
		}
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			if err == unix.EWOULDBLOCK {
				err = errNotStale
			}
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		// The former holder may have removed the file in the meantime: a
		// lock on a file that is not at path any more keeps nobody out.
		if now, err := os.Lstat(path); err == nil && os.SameFile(opened, now) {
			return unlock, nil
		}
		f.Close()
	}
}
