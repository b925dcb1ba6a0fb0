package procfs

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"example.com/reuse/internal/testnet"
)

// fixture is a directory with some of procfs's files.
func fixture(t testing.TB, files map[string]string) FS {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return FS(dir)
}

func TestPortRange(t *testing.T) {
	const name = "sys/net/ipv4/ip_local_port_range"
	for text, want := range map[string][2]uint16{
		"20000\t20003\n": {20000, 20003},
		"1 65535":        {1, 65535},
		"":               {32768, 60999},
		"20000\n":        {32768, 60999},
		"20000 70000\n":  {32768, 60999},
		"few many\n":     {32768, 60999},
	} {
		if low, high := fixture(t, map[string]string{name: text}).PortRange(); low != want[0] || high != want[1] {
			t.Errorf("%q: %d to %d, want %v", text, low, high, want)
		}
	}
	if low, high := FS(t.TempDir()).PortRange(); low != 32768 || high != 60999 {
		t.Errorf("without the file: %d to %d", low, high)
	}
}

func TestUnprivilegedPortStart(t *testing.T) {
	const name = "sys/net/ipv4/ip_unprivileged_port_start"
	for text, want := range map[string]int{"80\n": 80, "0\n": 0, "65536\n": 65536, "": 1024, "x\n": 1024, "-1\n": 1024} {
		if got := fixture(t, map[string]string{name: text}).UnprivilegedPortStart(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := FS(t.TempDir()).UnprivilegedPortStart(); got != 1024 {
		t.Errorf("without the file: %d", got)
	}
}

func TestReservedPorts(t *testing.T) {
	for _, test := range []struct {
		text, with string
		within     int // of 1000 to 2000
	}{
		{"\n", "9999", 0},
		{"", "9999", 0},
		{"80\n", "80,9999", 0},
		{"1000\n", "1000,9999", 1},
		{"80,990-1009,1999-2010\n", "80,990-1009,1999-2010,9999", 12},
		{"1-65535\n", "1-65535,9999", 1001},
		{"x,1500\n", "x,1500,9999", 1},
	} {
		ports := fixture(t, map[string]string{"sys/net/ipv4/ip_local_reserved_ports": test.text}).ReservedPorts()
		if got := ports.With(9999); string(got) != test.with {
			t.Errorf("%q with 9999: %q, want %q", test.text, got, test.with)
		}
		if got := ports.Within(1000, 2000); got != test.within {
			t.Errorf("%q: %d within, want %d", test.text, got, test.within)
		}
	}
	if got := FS(t.TempDir()).ReservedPorts(); got != "" {
		t.Errorf("without the file: %q", got)
	}
}

func TestSocketUID(t *testing.T) {
	for text, want := range map[string]uint32{
		"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n": 4,
		"Uid:\t0\t0\t0\t4294967294\n":                    4294967294,
	} {
		if got, err := fixture(t, map[string]string{"thread-self/status": text}).SocketUID(); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "Uid:\n", "Uid:\t1\t2\t3\n", "Uid:\t1\t2\t3\tx\n", "Name:\tUid: 1 2 3 4\n"} {
		if got, err := fixture(t, map[string]string{"thread-self/status": text}).SocketUID(); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
	if got, err := proc.SocketUID(); err != nil || int(got) != os.Geteuid() {
		t.Errorf("this thread's: %d, %v, want %d", got, err, os.Geteuid())
	}
	needsRoot(t, "for another user's socket")
	testnet.As(t, otherUser, func() {
		if got, err := proc.SocketUID(); err != nil || got != otherUser {
			t.Errorf("with another file system uid: %d, %v, want %d", got, err, otherUser)
		}
	})
}

func TestAddressFlags(t *testing.T) {
	fs := fixture(t, map[string]string{"thread-self/net/if_inet6": "00000000000000000000000000000001 01 80 10 80       lo\n" +
		"malformed\n" +
		"fe800000000000000000000000000001 02 40 20 c8     eth0\n"})
	for addr, want := range map[string]uint64{"::1": 0x80, "fe80::1%eth0": 0xc8} {
		if flags, ok := fs.AddressFlags(netip.MustParseAddr(addr)); !ok || flags != want {
			t.Errorf("%s: %#x, %v, want %#x", addr, flags, ok, want)
		}
	}
	if flags, ok := fs.AddressFlags(netip.MustParseAddr("::2")); ok {
		t.Errorf("of an address that is not there: %#x", flags)
	}
}
