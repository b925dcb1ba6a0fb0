package rtnetlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Link is a network interface.
type Link struct {
	Index      int
	Name       string
	Kind       string // "vxlan", "wireguard" and so on; "" of hardware
	Up         bool   // it has its socket only then
	Port       uint16 // the UDP port of its socket; 0 none, or not known
	IPv4, IPv6 bool   // the versions that it has a socket of
}

// Tunnels returns the interfaces of the calling thread's network namespace that have a
// UDP port. WireGuard tells its own to nobody but root (CAP_NET_ADMIN).
func Tunnels(ctx context.Context) ([]Link, error) {
	c, err := open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer unix.Close(c.fd)
	var links []Link
	hasWireGuard := false
	err = c.ask(ctx, unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, sizeLink), func(body []byte) error {
		l, err := parseLink(body)
		hasWireGuard = hasWireGuard || l.Kind == wireGuard
		if l.Port != 0 || l.Kind == wireGuard {
			links = append(links, l)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rtnetlink: %w", err)
	}
	if hasWireGuard {
		return links, listenPorts(ctx, links)
	}
	return links, nil
}

const wireGuard = "wireguard"

// listenPorts asks WireGuard for the ports of its interfaces.
func listenPorts(ctx context.Context, links []Link) error {
	c, err := open(unix.NETLINK_GENERIC)
	if err != nil {
		return err
	}
	defer unix.Close(c.fd)
	defer clear(c.buf) // WireGuard's answer has the private key
	var family uint16
	request := attribute(generic(unix.CTRL_CMD_GETFAMILY), unix.CTRL_ATTR_FAMILY_NAME, []byte(wireGuard+"\x00"))
	err = c.ask(ctx, unix.GENL_ID_CTRL, 0, request, func(body []byte) (err error) {
		family, err = parseFamily(body)
		return err
	})
	if err != nil {
		return fmt.Errorf("generic netlink, %s: %w", wireGuard, err)
	}
	const getDevice, index = 0, 1 // WG_CMD_GET_DEVICE, WGDEVICE_A_IFINDEX
	for i := range links {
		l := &links[i]
		if l.Kind != wireGuard {
			continue
		}
		l.IPv4, l.IPv6 = true, true
		request := attribute(generic(getDevice), index, binary.NativeEndian.AppendUint32(nil, uint32(l.Index)))
		err = errors.Join(err, c.ask(ctx, family, unix.NLM_F_DUMP, request, func(body []byte) error {
			port, err := parseListenPort(body)
			l.Port = max(l.Port, port)
			return err
		}))
	}
	return err
}

// generic returns a struct genlmsghdr.
func generic(command uint8) []byte { return []byte{command, 1, 0, 0} }

// A conn is a netlink socket.
type conn struct {
	fd  int
	seq uint32
	buf []byte
}

// silence is how long the kernel may take for the next part of an answer, which it
// makes within the system call.
const silence = time.Second

func open(protocol int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket AF_NETLINK", err)
	}
	timeout := unix.NsecToTimeval(int64(silence))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
	}
	return &conn{fd: fd, buf: make([]byte, 64<<10)}, nil
}

// ask sends a request and calls f with the body of each message of the answer. After an
// error of f, or the end of ctx, c is of no use any more.
func (c *conn) ask(ctx context.Context, kind, flags uint16, body []byte, f func([]byte) error) error {
	c.seq++
	message := binary.NativeEndian.AppendUint32(nil, uint32(sizeHeader+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|flags)
	message = binary.NativeEndian.AppendUint32(message, c.seq)
	message = append(append(message, 0, 0, 0, 0), body...)
	if err := unix.Sendto(c.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, _, _, from, err := unix.Recvmsg(c.fd, c.buf, nil, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvmsg", err)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			continue // a process, not the kernel
		}
		if done, err := eachMessage(c.buf[:n], c.seq, f); done || err != nil {
			return err
		}
	}
}
