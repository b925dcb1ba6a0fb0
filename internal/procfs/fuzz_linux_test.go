package procfs

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// FuzzStat reads hostile lines of /proc/*/stat; and in a line as the kernel writes
// it finds the start, whatever the process calls itself.
func FuzzStat(f *testing.F) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text), uint64(1))
	f.Add("a) S 1 (b", uint64(1)<<63)
	f.Fuzz(func(t *testing.T, s string, started uint64) {
		parseStat(s)
		line := fmt.Sprintf("1 (%s) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %d 1 2\n", s, started)
		if got, ok := parseStat(line); !ok || got.Start != started || got.Name != s {
			t.Errorf("%q: %+v, want %d", line, got, started)
		}
	})
}

// FuzzMountinfo reads hostile mountinfo; and finds a mount as the kernel writes it,
// whatever the path.
func FuzzMountinfo(f *testing.F) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text), "sys/fs/cgroup")
	f.Add("36 35 98:0 / / rw - ext4 none rw\n", "with\u00a0blank\t, \\040 and\nline")
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	f.Fuzz(func(t *testing.T, s, path string) {
		if root, mount := parseCgroupMount(s); len(root)+len(mount) > len(s) {
			t.Errorf("%q of %q in %q", mount, root, s)
		}
		if path = "/" + path; strings.Contains(path, "\x00") {
			return
		}
		line := "40 35 98:0 / " + escape.Replace(path) + " rw - cgroup2 none rw\n"
		if root, mount := parseCgroupMount(line); root != "" || mount != path {
			t.Errorf("%q of %q, want %q", mount, root, path)
		}
	})
}

// FuzzParse reads hostile links of /proc/*/fd.
func FuzzParse(f *testing.F) {
	f.Add("socket:[1]", uint32(1))
	f.Add("socket:[99999999999]", uint32(0))
	f.Fuzz(func(t *testing.T, s string, inode uint32) {
		if number, ok := socketInode(s); ok && !strings.Contains(s, fmt.Sprint(number)) {
			t.Errorf("%q: %d", s, number)
		}
		if number, ok := socketInode(fmt.Sprintf("socket:[%d]", inode)); !ok || number != inode {
			t.Errorf("%d, %v, want %d", number, ok, inode)
		}
	})
}

// FuzzFixedFiles reads hostile fdinfo; and finds a socket where the kernel writes it.
func FuzzFixedFiles(f *testing.F) {
	f.Add("UserFiles:\t1\n    0: socket:[1]\n", uint32(1))
	f.Fuzz(func(t *testing.T, s string, inode uint32) {
		parseFixedFiles(s)
		text := fmt.Sprintf("UserFiles:\t2\n    1: socket:[%d]\n%s", inode, s)
		if inodes, complete := parseFixedFiles(text); !complete || inodes[0] != inode {
			t.Errorf("%q: %v, %v", text, inodes, complete)
		}
	})
}
