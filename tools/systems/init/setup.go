package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// temp is no directory of the host's, or it could hide the module.
const temp = "/test/tmp"

// setUp makes the system one that tests can run in. Of what fails it tells, as
// few tests need all of it.
func setUp(console io.Writer) {
	check := func(what string, err error) {
		if err != nil && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EEXIST) {
			fmt.Fprintf(console, "init: %s: %v\n", what, err)
		}
	}
	mount := func(kind, dir, data string) {
		os.MkdirAll(dir, 0o755)
		check("mount "+dir, syscall.Mount(kind, dir, kind, 0, data))
	}

	syscall.Umask(0)
	os.Chmod("/", 0o755)
	mount("devtmpfs", "/dev", "mode=0755")
	mount("proc", "/proc", "")
	mount("sysfs", "/sys", "")
	mount("tmpfs", temp, "mode=1777")
	mount("tmpfs", "/run", "mode=0755")
	mount("tmpfs", "/dev/shm", "mode=1777")
	mount("cgroup2", "/sys/fs/cgroup", "")
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2",
	} {
		os.Symlink(target, "/dev/"+name)
	}
	for _, dir := range []string{"/etc", "/root", "/bin"} {
		os.MkdirAll(dir, 0o755)
	}
	for name, text := range map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
		"/etc/group":         "root:x:0:\nnogroup:x:65534:\n",
		"/etc/hosts":         "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	} {
		check(name, os.WriteFile(name, []byte(text), 0o644))
	}
	check("busybox", exec.Command("/.run/busybox", "--install", "-s", "/bin").Run())
	check("hostname", syscall.Sethostname([]byte("vm")))

	// A module that this kernel or machine cannot use is no loss: the test
	// that needs it says so.
	names, _ := filepath.Glob("/.run/modules/*.ko")
	slices.Sort(names)
	verbose := strings.Contains(read("/proc/cmdline"), "run.verbose")
	for _, name := range names {
		if err := load(name); err != nil && verbose {
			fmt.Fprintf(console, "init: %s: %v\n", filepath.Base(name), err)
		}
	}
	check("lo", up("lo"))
	syscall.Umask(0o022)
}

// load loads a kernel module.
func load(name string) error {
	image, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	params := []byte{0}
	_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE,
		uintptr(unsafe.Pointer(&image[0])), uintptr(len(image)), uintptr(unsafe.Pointer(&params[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

// up brings a network interface up, and waits until it has its addresses.
func up(name string) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var request struct { // struct ifreq
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], name)
	request.flags = syscall.IFF_UP | syscall.IFF_RUNNING
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	for range 100 {
		if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
			l.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
