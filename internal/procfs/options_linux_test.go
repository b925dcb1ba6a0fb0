package procfs

import (
	"net"
	"os"
	"strconv"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// Options are those of the very socket, or an error; no descriptor is left.
func TestOptions(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	number, fd := inode(t, ln.(*net.TCPListener))
	before := testnet.Descriptors(t)
	for range 100 {
		if addr, port, err := Options(Descriptor{PID: os.Getpid(), FD: fd}, number); err != nil || !addr || port {
			t.Fatal(addr, port, err)
		}
		for _, d := range []Descriptor{{PID: os.Getpid(), FD: 1 << 19}, {PID: 1 << 30, FD: fd}} {
			if _, _, err := Options(d, number); err == nil {
				t.Fatalf("options of %+v", d)
			}
		}
		if _, _, err := Options(Descriptor{PID: os.Getpid(), FD: fd}, number+1); err == nil {
			t.Fatal("options of another inode")
		}
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// The options are each that of the socket.
func TestOptionsEach(t *testing.T) {
	for _, addr := range []int{0, 1} {
		for _, port := range []int{0, 1} {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, addr)
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, port)
			var stat unix.Stat_t
			if err := unix.Fstat(fd, &stat); err != nil {
				t.Fatal(err)
			}
			gotAddr, gotPort, err := Options(Descriptor{PID: os.Getpid(), FD: fd}, uint32(stat.Ino))
			if err != nil || gotAddr != (addr != 0) || gotPort != (port != 0) {
				t.Errorf("%d, %d: %v, %v, %v", addr, port, gotAddr, gotPort, err)
			}
		}
	}
}

// Of a descriptor that is something else by now there are none.
func TestOptionsReused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	number, fd := inode(t, ln.(*net.TCPListener))
	const at = 400
	if err := unix.Dup3(fd, at, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Options(Descriptor{PID: os.Getpid(), FD: at}, number); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	before := testnet.Descriptors(t)
	for _, with := range []int{int(file.Fd()), other} {
		if err := unix.Dup3(with, at, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		if addr, port, err := Options(Descriptor{PID: os.Getpid(), FD: at}, number); err == nil {
			t.Errorf("options of another file: %v, %v", addr, port)
		}
	}
	unix.Close(at)
	if _, _, err := Options(Descriptor{PID: os.Getpid(), FD: at}, number); err == nil {
		t.Error("options of a closed descriptor")
	}
	if after := testnet.Descriptors(t); after != before-1 {
		t.Errorf("%d descriptors before, %d after", before-1, after)
	}
}

// Another process's are read through pidfd_getfd, without a descriptor left.
func TestOptionsOfAnother(t *testing.T) {
	p, text := start(t, nil, "holder", "50", "held")
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	before := testnet.Descriptors(t)
	for range 10 {
		if addr, port, err := Options(Descriptor{PID: p.Process.Pid, FD: 50}, uint32(number)); err != nil || !addr || port {
			t.Fatal(addr, port, err)
		}
		if _, _, err := Options(Descriptor{PID: p.Process.Pid, FD: 50}, uint32(number)+1); err == nil {
			t.Fatal("options of another inode")
		}
		if _, _, err := Options(Descriptor{PID: p.Process.Pid, FD: 51}, uint32(number)); err == nil {
			t.Fatal("options of a descriptor that is not there")
		}
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	p.Process.Kill()
	p.Wait()
	if _, _, err := Options(Descriptor{PID: p.Process.Pid, FD: 50}, uint32(number)); err == nil {
		t.Error("options of a process that has ended")
	}
}
