package handover

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bytesReceived returns how many bytes the kernel has received on a connection, or
// unknown. Emulators leave it 0.
func bytesReceived(c syscall.Conn) int64 {
	if info := tcpInfo(c); info != nil {
		return int64(info.Bytes_received)
	}
	return unknown
}

// queued returns how many connections wait in a listener's queue.
func queued(ln syscall.Conn) int {
	if info := tcpInfo(ln); info != nil {
		return int(info.Unacked) // tcp_get_info: sk_ack_backlog
	}
	return 0
}

func tcpInfo(c syscall.Conn) (info *unix.TCPInfo) {
	if c == nil {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	raw.Control(func(fd uintptr) {
		if got, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info = got
		}
	})
	return info
}
