package procfs

import "testing"

func TestFiltered(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n": false,
		"Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n": true,
		"Name:\tx\nSeccomp:\t1\n":                      true,
		"Seccomp:\n":                                   true,
		"Name:\tSeccomp:\nUid:\t0\t0\t0\t0\n":          false, // a kernel without
		"":                                             false,
	} {
		if got := parseFiltered(status); got != want {
			t.Errorf("%q: %v", status, got)
		}
	}
	if !FS("/nonexistent").Filtered() {
		t.Error("not known, and yet not filtered")
	}
}
