package procfs

import (
	"slices"
	"testing"
)

func TestParseStat(t *testing.T) {
	const rest = " 8 20 0 1 0 4242 1 2"
	for _, test := range []struct {
		stat string
		want Process
	}{
		{"", Process{}}, {"1 (a", Process{}}, {"1 (a) S", Process{}}, {")(", Process{}},
		{"1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7" + rest, Process{Name: "init", State: 'S', Group: 1, Start: 4242}},
		{"7 (a) b (c) T 3 7 1 34819 -1 4194560 1 2 3 4 5 6 7" + rest, Process{Name: "a) b (c", State: 'T', Parent: 3, Group: 7, Terminal: "pts/3", Start: 4242}},
		{"7 (\n) t 3 7 1 1025 -1 4194560 1 2 3 4 5 6 7" + rest, Process{Name: "\n", State: 't', Parent: 3, Group: 7, Terminal: "tty1", Start: 4242}},
	} {
		if got, ok := parseStat(test.stat); got != test.want || ok != (test.want.Start != 0) {
			t.Errorf("%q: %+v, %v, want %+v", test.stat, got, ok, test.want)
		}
	}
}

func TestTerminalName(t *testing.T) {
	for device, want := range map[uint32]string{
		0: "", 0x8800: "pts/0", 0x8803: "pts/3", 0x88ff: "pts/255", 0x108800: "pts/256", 0x401: "tty1", 0x440: "ttyS0", 0x400: "", 0x501: "",
	} {
		if got := terminalName(device); got != want {
			t.Errorf("%#x: %q, want %q", device, got, want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for _, test := range []struct {
		status      string
		uid, tracer int
		sandboxed   bool
	}{
		{"", -1, 0, false},
		{"Name:\tUid: 7\nUid:\t1000\t0\t0\t0\nTracerPid:\t12\nSeccomp:\t0\n", 1000, 12, false},
		{"Uid:\n\nTracerPid:\tx\nSeccomp:\t2\nSeccomp_filters:\t0\n", -1, 0, true},
		{"Uid:\t65534\t\nSeccomp:\t1\n", 65534, 0, true},
	} {
		if uid, tracer, _ := parseStatus(test.status); uid != test.uid || tracer != test.tracer {
			t.Errorf("%q: user %d, tracer %d", test.status, uid, tracer)
		}
		if got := parseSandboxed(test.status); got != test.sandboxed {
			t.Errorf("%q: sandboxed %v", test.status, got)
		}
	}
}

func TestParseStatusProcess(t *testing.T) {
	for status, want := range map[string]int{"": 0, "Name:\tTgid: 3\nTgid:\t12\nPid:\t13\n": 12, "Tgid:\tx\n": 0} {
		if _, _, got := parseStatus(status); got != want {
			t.Errorf("%q: process %d", status, got)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "0::/\n": "/", "0::/system.slice/nginx.service\n": "/system.slice/nginx.service",
		"9:name=systemd:/a.service\n8:pids:/b\n0::/\n": "/a.service",
		"0::/\n9:name=systemd:/a.service\n":            "/a.service",
		"9:name=systemd:/a.service\n0::/b.service\n":   "/b.service",
		"0::/b.service\n9:name=systemd:/a.service\n":   "/b.service",
		"4:memory:/docker/x\n":                         "", "0::/a:b \n": "/a:b ", "malformed\n0:\n": "",
	} {
		if got := parseCgroup(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestParseFixedFiles(t *testing.T) {
	for _, test := range []struct {
		text     string
		inodes   []uint32
		complete bool
	}{
		{"", nil, false},
		{"pos:\t0\n", nil, false},
		{"SqMask:\t0x3\nUserFiles:\t0\nUserBufs:\t0\n", nil, true},
		{"UserFiles:\t2\nUserBufs:\t0\n", nil, false}, // the kernel had no time
		{"UserFiles:\t3\n    1: socket:[77]\n    2: /tmp/socket:[78]\nUserBufs:\t1\n    0: socket:[79]\n", []uint32{77}, true},
		{"UserFiles:\t1\n    0: TCP\nUserBufs:\t0\n", nil, true}, // as Linux 6.12 has it
		{"UserFiles:", nil, true},
	} {
		inodes, complete := parseFixedFiles(test.text)
		if !slices.Equal(inodes, test.inodes) || complete != test.complete {
			t.Errorf("%q: %v, %v", test.text, inodes, complete)
		}
	}
}

func TestParseCgroupMount(t *testing.T) {
	for _, test := range []struct{ text, root, want string }{
		{"", "", ""}, {" - \n", "", ""}, {"1 2 3 4", "", ""}, {"36 35 98:0 / - cgroup2 cgroup2 rw\n", "", ""},
		{"36 35 98:0 / /sys/fs/cgroup rw shared:1 - cgroup2 cgroup2 rw\n", "", "/sys/fs/cgroup"},
		{"36 35 98:0 / /a\\040b\\134 rw - cgroup2 none rw\n", "", `/a b\`},
		{"36 35 98:0 / /a\\134040 rw - cgroup2 none rw\n", "", `/a\040`},
		{"36 35 98:0 / /v1 rw - cgroup none rw\n40 35 98:0 / /v2 rw master:1 - cgroup2 none rw\n", "", "/v2"},
		{"36 35 98:0 /p\\040t /part rw - cgroup2 none rw\n", "/p t", "/part"},
		{"36 35 98:0 / /a\u00a0b\r rw - cgroup2 none rw\n", "", "/a\u00a0b\r"},
		{"36 35 98:0 /p /part rw - cgroup2 none rw\n40 35 98:0 / /whole rw - cgroup2 none rw\n", "", "/whole"},
	} {
		if root, got := parseCgroupMount(test.text); root != test.root || got != test.want {
			t.Errorf("%q: %q of %q, want %q of %q", test.text, got, root, test.want, test.root)
		}
	}
}

func TestSocketInode(t *testing.T) {
	for link, want := range map[string]uint32{"socket:[4711]": 4711, "socket:[": 0, "pipe:[1]": 0, "socket:[99999999999]": 0} {
		if got, ok := socketInode(link); ok != (want != 0) || ok && got != want {
			t.Errorf("%q: %d, %v", link, got, ok)
		}
	}
}
