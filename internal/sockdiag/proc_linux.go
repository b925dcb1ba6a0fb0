package sockdiag

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procNet is the namespace of the calling thread; /proc/net is that of the
// process.
const procNet = "/proc/thread-self/net/"

// ticks is USER_HZ, the unit of the times in /proc/net. It is 100 on every
// architecture that Go has.
const ticks = time.Second / 100

// ReadProc is [Conn.Sockets] from /proc/net, which lacks cookies, cgroups,
// IPV6_V6ONLY and sockets in state Bound.
func ReadProc(r Request) ([]Socket, error) {
	order, err := procOrder()
	if err != nil {
		return nil, err
	}
	if r.States == 0 {
		r.States = AnyState
	}
	var all []Socket
	for _, table := range procTables(r) {
		sockets, err := readTable(table, order, func(s Socket) bool {
			return r.States.Has(s.State) && (r.LocalPort == 0 || r.LocalPort == s.Local.Port()) &&
				(r.RemotePort == 0 || r.RemotePort == s.Remote.Port())
		})
		if err != nil {
			return nil, err
		}
		all = append(all, sockets...)
	}
	return all, nil
}

// A table is one of the files of /proc/net.
type table struct {
	name             string
	family, protocol uint8
}

func procTables(r Request) []table {
	name := "tcp"
	if r.Protocol == unix.IPPROTO_UDP {
		name = "udp"
	}
	var tables []table
	if r.Family != unix.AF_INET6 {
		tables = append(tables, table{name, unix.AF_INET, r.Protocol})
	}
	if r.Family != unix.AF_INET {
		tables = append(tables, table{name + "6", unix.AF_INET6, r.Protocol})
	}
	return tables
}

func readTable(t table, order binary.ByteOrder, keep func(Socket) bool) ([]Socket, error) {
	f, err := os.Open(procNet + t.name)
	if errors.Is(err, fs.ErrNotExist) && t.family == unix.AF_INET6 {
		return nil, nil // no IPv6
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTable(f, t, order, keep)
}

// parseTable reads what tcp4_seq_show and its likes print. Addresses are 32-bit
// words in the kernel's byte order.
func parseTable(r io.Reader, t table, order binary.ByteOrder, keep func(Socket) bool) ([]Socket, error) {
	var sockets []Socket
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		s, err := parseLine(lines.Text(), t, order)
		if err != nil {
			return nil, err
		}
		if keep(s) {
			sockets = append(sockets, s)
		}
	}
	return sockets, lines.Err()
}

// parseLine reads "sl local remote st tx:rx timer:when retrnsmt uid timeout
// inode …".
func parseLine(line string, t table, order binary.ByteOrder) (Socket, error) {
	s := Socket{Family: t.family, Protocol: t.protocol}
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return s, fmt.Errorf("/proc/net/%s: %d fields in %q", t.name, len(fields), line)
	}
	p := lineParser{order: order, family: t.family}
	s.Local, s.Remote = p.addrPort(fields[1]), p.addrPort(fields[2])
	s.State = State(p.number(fields[3], 16, 8))
	_, received, _ := strings.Cut(fields[4], ":")
	s.Queue = uint32(p.number(received, 16, 32))
	timer, when, _ := strings.Cut(fields[5], ":")
	s.Timer = uint8(p.number(timer, 16, 8))
	s.Expires = min(time.Duration(p.number(when, 16, 63)), time.Hour/ticks) * ticks
	s.Retransmits = uint8(min(p.number(fields[6], 16, 32), 255))
	s.UID = uint32(p.number(fields[7], 10, 32))
	s.Inode = uint32(p.number(fields[9], 10, 32))
	if p.err != nil {
		return s, fmt.Errorf("/proc/net/%s: %w in %q", t.name, p.err, line)
	}
	return s, nil
}

// A lineParser keeps the first error.
type lineParser struct {
	order  binary.ByteOrder
	family uint8
	err    error
}

func (p *lineParser) number(s string, base, bits int) uint64 {
	n, err := strconv.ParseUint(s, base, bits)
	if err != nil && p.err == nil {
		p.err = err
	}
	return n
}

func (p *lineParser) addrPort(s string) netip.AddrPort {
	host, port, _ := strings.Cut(s, ":")
	words, err := hex.DecodeString(host)
	size := 4
	if p.family == unix.AF_INET6 {
		size = 16
	}
	if err == nil && len(words) != size {
		err = fmt.Errorf("address of %d bytes", len(words))
	}
	if err != nil {
		if p.err == nil {
			p.err = err
		}
		return netip.AddrPort{}
	}
	for i := 0; i < size; i += 4 {
		p.order.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	return addrPort(p.family, append(words, make([]byte, 12)...), uint16(p.number(port, 16, 16)))
}

// procOrder finds out the byte order of the kernel, which is not this program's
// where an emulator runs it. It shows in the address of a socket of one's own.
func procOrder() (binary.ByteOrder, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback.As4()}); err != nil {
		// No loopback interface: nothing to be told apart by.
		return binary.NativeEndian, nil
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	port := uint16(bound.(*unix.SockaddrInet4).Port)
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		own, err := readTable(table{"udp", unix.AF_INET, unix.IPPROTO_UDP}, order, func(s Socket) bool {
			return s.Local == netip.AddrPortFrom(loopback, port)
		})
		if err != nil {
			return nil, err
		}
		if len(own) > 0 {
			return order, nil
		}
	}
	return binary.NativeEndian, nil
}
