package group

import (
	"fmt"
	"net/netip"
	"os"

	"example.com/reuse/internal/procfs"
	"golang.org/x/sys/unix"
)

type option struct {
	level, option, value int
	name                 string
}

// openSocket returns a socket that shares a port with those of a user, and listens.
// Some of its options are set before it is bound.
func openSocket(family, kind int, uid uint32, bind netip.AddrPort, before, after []option) (fd int, cookie uint64, err error) {
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socket", err)
	}
	if cookie, err = prepare(fd, family, kind, uid, bind, before, after); err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	return fd, cookie, nil
}

func prepare(fd, family, kind int, uid uint32, bind netip.AddrPort, before, after []option) (cookie uint64, err error) {
	if uid != uint32(unix.Geteuid()) {
		// Only sockets of one user share a port. Root may be another.
		if err := give(fd, uid); err != nil {
			return 0, fmt.Errorf("a socket of user %d: %w", uid, err)
		}
	}
	if err := setAll(fd, append(before, option{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "SO_REUSEPORT"})); err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, sockaddr(family, bind)); err != nil {
		cure := ""
		if err == unix.EACCES {
			cure = "; a port below net.ipv4.ip_unprivileged_port_start takes CAP_NET_BIND_SERVICE"
		}
		return 0, fmt.Errorf("a socket at %v: %w%s", bind, os.NewSyscallError("bind", err), cure)
	}
	if err := setAll(fd, after); err != nil {
		return 0, err
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 1); err != nil {
			return 0, fmt.Errorf("a socket at %v: %w", bind, os.NewSyscallError("listen", err))
		}
	}
	cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	return cookie, unsupported("getsockopt SO_COOKIE", err)
}

// give makes the socket one of a user. The filter that systemd makes of ~@privileged
// would kill a process for that call, so where there may be one it is not made.
func give(fd int, uid uint32) error {
	if procfs.FS("/proc").Sandboxed() {
		return fmt.Errorf("fchown in a sandbox: %w", unix.EPERM)
	}
	return os.NewSyscallError("fchown", unix.Fchown(fd, int(uid), -1))
}

func setAll(fd int, options []option) error {
	for _, o := range options {
		if err := setsockopt(fd, o.level, o.option, o.value, o.name); err != nil {
			return err
		}
	}
	return nil
}

func sockaddr(family int, a netip.AddrPort) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
