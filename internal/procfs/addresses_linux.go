package procfs

import (
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Addresses returns the addresses of the network namespace that a process is in. All
// users may read them.
func (fs FS) Addresses(pid int) []netip.Addr {
	routes, _ := os.ReadFile(fs.process(pid, "net/fib_trie"))
	addrs := parseLocal(string(routes))
	interfaces, _ := os.ReadFile(fs.process(pid, "net/if_inet6"))
	for line := range strings.Lines(string(interfaces)) {
		number, _, _ := strings.Cut(line, " ")
		bytes, err := hex.DecodeString(number)
		if addr, ok := netip.AddrFromSlice(bytes); ok && err == nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// parseLocal returns the host's own addresses among its IPv4 routes: "|-- 10.0.0.1", and
// below it "/32 host LOCAL".
func parseLocal(trie string) (addrs []netip.Addr) {
	var last netip.Addr
	for line := range strings.Lines(trie) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "|-- "); ok {
			last, _ = netip.ParseAddr(text)
		} else if line == "/32 host LOCAL" && last.IsValid() && !slices.Contains(addrs, last) {
			addrs = append(addrs, last)
		}
	}
	return addrs
}
