package testnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// PrivateMounts moves the calling goroutine into a mount namespace of its own, as
// Namespace does for the network. It skips the test where that is not permitted.
func PrivateMounts(t testing.TB) {
	t.Helper()
	NeedRoot(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: unshare: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
}

// Mount mounts a file system on a new directory, until the test ends. The calling
// goroutine has called PrivateMounts.
func Mount(t testing.TB, kind, options string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), kind)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, kind, 0, options); err != nil {
		t.Fatalf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		// By force, which ends serve even if a test left a socket there.
		if err := unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Hosts mounts one directory twice, as two hosts have it that share a file system.
// A file is there for both; a socket bound on one of them is unknown to the other.
// The calling goroutine has called PrivateMounts.
func Hosts(t testing.TB) (one, other string) {
	t.Helper()
	shared := &directory{files: map[string]*file{}}
	return shared.mount(t), shared.mount(t)
}

// A Hanging file has HangingParts parts, HangingStep bytes apart.
const (
	HangingParts = 16
	HangingStep  = 1 << 16
)

// Hanging returns a file whose parts fail to be read once, or twice, and from then on
// hang the reader until the test ends. (The kernel reads a page that is mapped without a
// lock of the memory, once or twice, and then with it: filemap_fault.) The calling
// goroutine has called PrivateMounts, and has started the processes that use it, which
// can end only when it is gone.
func Hanging(t testing.TB) (name string) {
	t.Helper()
	hanging := &file{number: fuseRoot + 1, mode: unix.S_IFREG | 0o666, size: HangingParts * HangingStep}
	d := &directory{files: map[string]*file{"hanging": hanging}, last: 1, reads: map[uint64]int{}}
	return filepath.Join(d.mount(t), "hanging")
}

// A directory is a file system of the FUSE protocol: one directory with files that
// cannot be read (include/uapi/linux/fuse.h).
type directory struct {
	mu    sync.Mutex
	files map[string]*file
	last  uint64
	reads map[uint64]int // of a Hanging file, by offset
}

type file struct {
	number   uint64
	mode     uint32
	uid, gid uint32
	size     uint64
}

const (
	fuseLookup  = 1
	fuseForget  = 2
	fuseGetattr = 3
	fuseSetattr = 4
	fuseMknod   = 8
	fuseUnlink  = 10
	fuseLink    = 13
	fuseOpen    = 14
	fuseRead    = 15
	fuseStatfs  = 17
	fuseRelease = 18
	fuseFlush   = 25
	fuseInit    = 26
	fuseCreate  = 35
	fuseIntr    = 36
	fuseForgets = 42

	fuseRoot = 1 // the number of the directory
)

type fuseRequest struct {
	Length, Op     uint32
	Unique, Number uint64
	UID, GID, PID  uint32
	_              uint32
}

type fuseAttr struct {
	Number, Size        uint64
	_                   [4]uint64
	_                   [3]uint32
	Mode, Links         uint32
	UID, GID            uint32
	_, BlockSize, Flags uint32
}

// fuseEntry has times of validity, all zero: nothing is cached.
type fuseEntry struct {
	Number uint64
	_      [3]uint64
	_      [2]uint32
	Attr   fuseAttr
}

func (d *directory) mount(t testing.TB) string {
	t.Helper()
	if os.Getenv(emulatedEnv) == swapped {
		t.Skip("needs a kernel whose byte order is this program's, which FUSE speaks")
	}
	// Not os.OpenFile, which would poll it.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs FUSE: %v", &fs.PathError{Op: "open", Path: "/dev/fuse", Err: err})
	}
	done := make(chan struct{})
	t.Cleanup(func() { <-done }) // after the unmount, which ends serve
	dir := Mount(t, "fuse", fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
	go func() {
		defer close(done)
		defer unix.Close(fd) // without which requests would wait for an answer
		if err := d.serve(fd); err != unix.ENODEV {
			t.Errorf("FUSE: %v", err)
		}
	}()
	return dir
}

// serve answers the kernel's requests until the file system is unmounted, which is
// ENODEV.
func (d *directory) serve(fd int) error {
	buffer := make([]byte, 1<<17)
	for {
		n, err := unix.Read(fd, buffer)
		if err == unix.EINTR || err == unix.ENOENT { // a request that was interrupted
			continue
		}
		if err != nil {
			return err
		}
		var r fuseRequest
		if _, err := binary.Decode(buffer[:n], binary.NativeEndian, &r); err != nil {
			return err
		}
		if r.Op == fuseForget || r.Op == fuseForgets || r.Op == fuseIntr || r.Op == fuseRead && d.hangs(buffer[binary.Size(r):n]) {
			continue // without an answer
		}
		var answer bytes.Buffer
		errno := d.answer(&answer, r, buffer[binary.Size(r):n])
		if errno != 0 {
			answer.Reset()
		}
		head := binary.NativeEndian.AppendUint32(nil, uint32(16+answer.Len()))
		head = binary.NativeEndian.AppendUint32(head, uint32(-int32(errno)))
		head = binary.NativeEndian.AppendUint64(head, r.Unique)
		if _, err := unix.Write(fd, append(head, answer.Bytes()...)); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
}

func (d *directory) answer(w *bytes.Buffer, r fuseRequest, args []byte) unix.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	put := func(values ...any) unix.Errno {
		for _, v := range values {
			binary.Write(w, binary.NativeEndian, v)
		}
		return 0
	}
	entry := func(f *file) fuseEntry { return fuseEntry{Number: f.number, Attr: f.attr()} }
	name := func(from int) string { return string(bytes.TrimRight(args[from:], "\x00")) }
	create := func(name string) (*file, unix.Errno) {
		if d.files[name] != nil {
			return nil, unix.EEXIST
		}
		d.last++
		f := &file{number: fuseRoot + d.last, uid: r.UID, gid: r.GID}
		d.files[name] = f
		return f, 0
	}
	switch r.Op {
	case fuseInit:
		var version [4]uint32
		binary.Decode(args, binary.NativeEndian, &version)
		return put(uint32(7), min(version[1], 31), version[2], uint32(0), [2]uint16{}, uint32(4096), [10]uint32{0: 1})
	case fuseLookup:
		f := d.files[name(0)]
		if f == nil {
			return unix.ENOENT
		}
		return put(entry(f))
	case fuseGetattr, fuseSetattr: // nothing can be set
		f := d.numbered(r.Number)
		if f == nil {
			return unix.ENOENT
		}
		return put([2]uint64{}, f.attr())
	case fuseMknod:
		f, errno := create(name(16))
		if errno != 0 {
			return errno
		}
		f.mode = binary.NativeEndian.Uint32(args)
		return put(entry(f))
	case fuseCreate:
		f, errno := create(name(16))
		if errno != 0 {
			return errno
		}
		f.mode = binary.NativeEndian.Uint32(args[4:])
		return put(entry(f), [2]uint64{})
	case fuseLink:
		f := d.numbered(binary.NativeEndian.Uint64(args))
		switch {
		case f == nil:
			return unix.ENOENT
		case d.files[name(8)] != nil:
			return unix.EEXIST
		}
		d.files[name(8)] = f
		return put(entry(f))
	case fuseUnlink:
		if d.files[name(0)] == nil {
			return unix.ENOENT
		}
		delete(d.files, name(0))
		return 0
	case fuseOpen:
		return put([2]uint64{})
	case fuseRead:
		return unix.EIO
	case fuseStatfs:
		return put([10]uint64{})
	case fuseFlush, fuseRelease:
		return 0
	}
	return unix.ENOSYS
}

// hangs reports whether the reader of a Hanging file has to wait.
func (d *directory) hangs(args []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	offset := binary.NativeEndian.Uint64(args[8:])
	d.reads[offset]++
	return d.reads[offset] > 1+int(offset/HangingStep%2)
}

// numbered returns the file with a number, nil if it has been removed.
func (d *directory) numbered(number uint64) *file {
	if number == fuseRoot {
		return &file{number: fuseRoot, mode: unix.S_IFDIR | 0o777}
	}
	for _, f := range d.files {
		if f.number == number {
			return f
		}
	}
	return nil
}

func (f *file) attr() fuseAttr {
	return fuseAttr{Number: f.number, Size: f.size, Mode: f.mode, Links: 1, UID: f.uid, GID: f.gid, BlockSize: 4096}
}
