package shard_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/shard"
)

// service is a process that opens shards and steers them, and prints what came of it.
func service([]string) error {
	outcome := func(err error) any {
		if errors.Is(err, errors.ErrUnsupported) {
			return "unsupported"
		}
		return err
	}
	for _, network := range []string{"tcp", "tcp4", "tcp6"} {
		lns, err := shard.Listen(network, ":0", 3)
		if err != nil {
			return err
		}
		fmt.Println("ByCPU", network, outcome(shard.ByCPU(lns)))
		fmt.Println("Steer", network, outcome(shard.Steer(lns, []rawInstruction{{Op: 0x06}})))
		fmt.Println("ByHash", network, outcome(shard.ByHash(lns)))
		closeAll(lns)
	}
	for _, network := range []string{"udp", "udp4", "udp6"} {
		socks, err := shard.ListenPacket(network, ":0", 0)
		if err != nil {
			return err
		}
		fmt.Println("ByCPU", network, outcome(shard.ByCPU(socks)))
		fmt.Println("Steer", network, outcome(shard.Steer(socks, []rawInstruction{{Op: 0x06}})))
		fmt.Println("ByHash", network, outcome(shard.ByHash(socks)))
		closeAll(socks)
	}
	return nil
}

// In a service that systemd has restricted, everything is as outside, or, without
// netlink, errors.ErrUnsupported.
func TestService(t *testing.T) {
	needSteering(t)
	run := func(t *testing.T, p *testnet.Process) string {
		var lines []string
		for line := p.Line(t); line != ""; line = p.Line(t) {
			lines = append(lines, line)
		}
		p.Survived(t)
		return strings.Join(lines, "\n")
	}
	outside := run(t, testnet.Start(t, os.Getuid(), "service"))
	if !strings.Contains(outside, "ByCPU udp <nil>") {
		t.Fatalf("outside: %s", outside)
	}
	for _, s := range testnet.KillSandboxes() {
		want := outside
		if s.NoNetlink {
			want = strings.ReplaceAll(outside, "<nil>", "unsupported")
		}
		if inside := run(t, testnet.StartSandboxed(t, s, os.Getuid(), "service")); inside != want {
			t.Errorf("%v:\n%s\nwant:\n%s", s, inside, want)
		}
	}
}
