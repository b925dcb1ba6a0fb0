//go:build unix

package inuse

import (
	"os"
	"path/filepath"
)

// samePath reports whether two paths are those of one socket. A server may have bound
// it by another path, as /tmp is /private/tmp on macOS.
func samePath(a, b string) bool {
	if a == b {
		return true
	}
	if a == "" || b == "" || a[0] == 0 || b[0] == 0 || filepath.Base(a) != filepath.Base(b) || !filepath.IsAbs(a) {
		return false
	}
	first, err := os.Lstat(a)
	if err != nil {
		return false
	}
	second, err := os.Lstat(b)
	return err == nil && os.SameFile(first, second)
}
