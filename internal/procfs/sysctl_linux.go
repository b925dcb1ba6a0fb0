package procfs

import (
	"fmt"
	"strconv"
	"strings"
)

// PortRange returns net.ipv4.ip_local_port_range: the ports that the kernel chooses
// from for port 0 and for clients. If it cannot be read, it is the kernel's default.
func (fs FS) PortRange() (low, high uint16) {
	text, _ := fs.read("sys/net/ipv4/ip_local_port_range")
	if n, err := fmt.Sscan(text, &low, &high); n != 2 || err != nil {
		return 32768, 60999
	}
	return low, high
}

// UnprivilegedPortStart returns net.ipv4.ip_unprivileged_port_start, below which a
// port takes CAP_NET_BIND_SERVICE. If it cannot be read, it is the kernel's default.
func (fs FS) UnprivilegedPortStart() int {
	text, err := fs.read("sys/net/ipv4/ip_unprivileged_port_start")
	if err == nil {
		if start, err := strconv.ParseUint(strings.TrimSpace(text), 10, 17); err == nil {
			return int(start)
		}
	}
	return 1024
}

// Ports is a list of ports as the kernel writes it: "80,1000-1010", or "".
type Ports string

// ReservedPorts returns net.ipv4.ip_local_reserved_ports, which the kernel does not
// choose by itself. If it cannot be read, it is empty.
func (fs FS) ReservedPorts() Ports {
	text, _ := fs.read("sys/net/ipv4/ip_local_reserved_ports")
	return Ports(strings.TrimSpace(text))
}

// With returns p with port added.
func (p Ports) With(port uint16) Ports {
	if p == "" {
		return Ports(fmt.Sprint(port))
	}
	return Ports(fmt.Sprintf("%s,%d", p, port))
}

// Within returns how many of p are from low to high.
func (p Ports) Within(low, high uint16) int {
	count := 0
	for part := range strings.SplitSeq(string(p), ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		to := from
		if isRange {
			to, _ = strconv.Atoi(last)
		}
		count += max(0, min(to, int(high))-max(from, int(low))+1)
	}
	return count
}
