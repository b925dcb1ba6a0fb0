package main

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A space is a thread in a network namespace. What it opens and starts is in
// that namespace.
type space struct{ calls chan func() }

// newSpace returns a thread that is in a new namespace, or in the process's own.
// The thread lives as long as the process.
func newSpace(fresh bool) (*space, error) {
	s := &space{calls: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread()
		if fresh {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				made <- os.NewSyscallError("unshare", err)
				return
			}
		}
		made <- interfaceUp("lo", netip.Addr{})
		for f := range s.calls {
			f()
		}
	}()
	return s, <-made
}

// do runs f on the thread.
func (s *space) do(f func() error) error {
	done := make(chan error)
	s.calls <- func() { done <- f() }
	return <-done
}

// sysctl sets a value of the namespace.
func (s *space) sysctl(name, value string) error {
	return s.do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0o644) })
}

// interfaceUp brings up an interface of the calling thread's namespace, which
// gets addr, if that is valid, in a network of 256 addresses.
func interfaceUp(name string, addr netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	set := func(request uint, change func(*unix.Ifreq) error) error {
		ifreq, err := unix.NewIfreq(name)
		if err == nil {
			err = change(ifreq)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, request, ifreq)
		}
		if err != nil {
			return fmt.Errorf("interface %s: ioctl %#x: %w", name, request, err)
		}
		return nil
	}
	if addr.IsValid() {
		ip := addr.As4()
		if err := set(unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }); err != nil {
			return err
		}
		mask := []byte{255, 255, 255, 0}
		if err := set(unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(mask) }); err != nil {
			return err
		}
		queue := func(r *unix.Ifreq) error { r.SetUint32(10000); return nil }
		if err := set(unix.SIOCSIFTXQLEN, queue); err != nil {
			return err
		}
	}
	return set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil })
}
