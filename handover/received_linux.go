package handover

import (
	"net"

	"golang.org/x/sys/unix"
)

// received returns how many bytes the kernel has received on a TCP connection on
// which something was: tcpi_bytes_received, which emulators leave 0. With TLS they
// say little about requests.
func received(c net.Conn) (n int64, ok bool) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); failed == nil {
			n = int64(info.Bytes_received)
		}
	})
	return n, err == nil && failed == nil && n > 0
}
