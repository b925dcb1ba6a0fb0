//go:build unix || windows

package inuse

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A winTable is a table of sockets of Windows (iphlpapi): a number of rows, then the
// rows. The places are offsets within a row.
type winTable struct {
	network      string
	size         int
	local, scope int // the address, and of IPv6 its zone, -1 for none
	port         int
	remote       int // -1 if there is none; the remote port follows as the local one does
	remotePort   int
	state        int // -1 if there is none
	pid          int
}

// winTables are the tables with the owning process: MIB_TCPTABLE_OWNER_PID,
// MIB_TCP6TABLE_OWNER_PID, MIB_UDPTABLE_OWNER_PID and MIB_UDP6TABLE_OWNER_PID.
var winTables = []winTable{
	{network: "tcp4", size: 24, state: 0, local: 4, scope: -1, port: 8, remote: 12, remotePort: 16, pid: 20},
	{network: "tcp6", size: 56, local: 0, scope: 16, port: 20, remote: 24, remotePort: 44, state: 48, pid: 52},
	{network: "udp4", size: 12, local: 0, scope: -1, port: 4, remote: -1, state: -1, pid: 8},
	{network: "udp6", size: 28, local: 0, scope: 16, port: 20, remote: -1, state: -1, pid: 24},
}

// winStates are the states of TCP by their numbers (MIB_TCP_STATE), the first is 1.
var winStates = []string{"BOUND", "LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT",
	"CLOSING", "LAST_ACK", "TIME_WAIT", "DELETE_TCB"}

// parse reads a table. A row that is cut off is left out.
func (t winTable) parse(table []byte) (rows []row) {
	const count = 4
	if len(table) < count {
		return nil
	}
	n := binary.NativeEndian.Uint32(table)
	table = table[count:]
	for ; n > 0 && len(table) >= t.size; n-- {
		rows = append(rows, t.row(table[:t.size]))
		table = table[t.size:]
	}
	return rows
}

func (t winTable) row(b []byte) row {
	number := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	address := func(at, port int) netip.AddrPort {
		length := map[bool]int{false: 4, true: 16}[strings.HasSuffix(t.network, "6")]
		addr, _ := netip.AddrFromSlice(b[at : at+length])
		// Ports are in network byte order, in the first half of a DWORD.
		return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[port:]))
	}
	r := row{network: t.network, local: address(t.local, t.port), pid: int(number(t.pid)), uid: -1}
	if t.scope >= 0 {
		addr := r.local.Addr()
		if zone := number(t.scope); zone != 0 && (addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast()) {
			r.local = netip.AddrPortFrom(r.local.Addr().WithZone(strconv.FormatUint(uint64(zone), 10)), r.local.Port())
		}
	}
	if t.state < 0 {
		return r
	}
	if i := number(t.state) - 1; i < uint32(len(winStates)) {
		r.state = winStates[i]
	}
	if r.state != "LISTEN" && r.state != "BOUND" { // a listener's has a random port
		r.remote = remoteOf(address(t.remote, t.remotePort))
	}
	return r
}

// excludedRange returns the range of ports in the output of netsh that has the port: a
// line with the first and the last one, and a star if an administrator has made it. The
// words around them are in the language of the system.
func excludedRange(out []byte, port uint16) (first, last uint16, ok bool) {
	for line := range strings.SplitSeq(string(out), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || len(fields) > 3 {
			continue
		}
		from, err := strconv.ParseUint(fields[0], 10, 16)
		to, failed := strconv.ParseUint(fields[1], 10, 16)
		if err == nil && failed == nil && from <= to && uint64(port) >= from && uint64(port) <= to {
			return uint16(from), uint16(to), true
		}
	}
	return 0, 0, false
}

// setAsideFor says that Windows has set the ports aside.
func (a attempt) setAsideFor(first, last uint16) *finding {
	ports := fmt.Sprintf("ports %d-%d", first, last)
	if first == last {
		ports = fmt.Sprintf("port %d", first)
	}
	f := a.because(CauseSetAside, facts{"range": ports})
	f.instead = []string{"other-port", "find-excluded"}
	return f
}
