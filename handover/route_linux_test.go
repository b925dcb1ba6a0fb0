package handover_test

import (
	"os/exec"
	"strings"
	"testing"
)

// route makes packets to 192.0.2.0/24 disappear, and gives the host the address
// 198.51.100.1.
func route(t testing.TB) {
	t.Helper()
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("needs ip(8): ", err)
	}
	run := func(commands ...string) {
		for _, c := range commands {
			if out, err := exec.Command(ip, strings.Fields(c)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v, %s", c, err, out)
			}
		}
	}
	run("addr add 198.51.100.1/32 dev lo")
	// A dummy device drops what it is to send. Where the kernel has none, that
	// is what a veth does whose other end is not looked at.
	if exec.Command(ip, "link", "add", "hole", "type", "dummy").Run() == nil {
		run("link set hole up", "route add 192.0.2.0/24 dev hole")
	} else {
		run("link add hole type veth peer name end", "link set hole up", "link set end up",
			"route add 192.0.2.0/24 dev hole",
			"neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev hole nud permanent")
	}
}
