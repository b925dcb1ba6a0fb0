//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sockfile

// refuses is for Linux only: the BSDs answer a connected stream socket EISCONN
// before they look at the path (soconnect).
func refuses(string) error { return nil }
