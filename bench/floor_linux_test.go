package bench_test

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// The calls that a program in C makes for a socket that shares its port, and no
// other: the floor under every way. What they return can be closed, and no more.

func listenC(_, address string) (net.Listener, error) {
	fd, err := bindC(unix.SOCK_STREAM, address, unix.SO_REUSEADDR, unix.SO_REUSEPORT)
	if err == nil {
		if err = os.NewSyscallError("listen", unix.Listen(fd, 4096)); err != nil {
			unix.Close(fd)
		}
	}
	return listenerC{fd: fd}, err
}

func listenPacketC(_, address string) (net.PacketConn, error) {
	fd, err := bindC(unix.SOCK_DGRAM, address, unix.SO_REUSEPORT)
	return packetConnC{fd: fd}, err
}

func bindC(kind int, address string, options ...int) (fd int, err error) {
	addr := netip.MustParseAddrPort(address)
	fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, option := range options {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1))
		}
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}))
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

type listenerC struct {
	net.Listener
	fd int
}

func (l listenerC) Close() error { return os.NewSyscallError("close", unix.Close(l.fd)) }

// Accept is for BenchmarkLeftovers.
func (l listenerC) Accept() (net.Conn, error) {
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("accept4", err)
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	return net.FileConn(f)
}

type packetConnC struct {
	net.PacketConn
	fd int
}

func (c packetConnC) Close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }
