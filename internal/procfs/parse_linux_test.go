package procfs

import (
	"testing"
)

func TestParseStarted(t *testing.T) {
	for _, test := range []struct {
		stat string
		want uint64
	}{
		{"", 0}, {"1 (a", 0}, {"1 (a) S", 0},
		{"1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2", 4242},
		{"1 (a) b (c) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2", 4242},
	} {
		if got := parseStarted(test.stat); got != test.want {
			t.Errorf("%q: %d, want %d", test.stat, got, test.want)
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
