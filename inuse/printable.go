package inuse

import (
	"net/netip"
	"strings"
	"unicode"
)

// printable returns s with a question mark for each character that is not, so that
// nobody writes to a terminal or a log by the name of a process, a cgroup, a user or a
// file. All that others chose and that is printed goes through it or quote.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if isPrintable(r) {
			return r
		}
		return '?'
	}, s)
}

func isPrintable(r rune) bool { return r != unicode.ReplacementChar && unicode.IsPrint(r) }

// printableZone returns an address with a zone that is printable: an interface can have
// almost any name.
func printableZone(a netip.AddrPort) netip.AddrPort {
	if zone := a.Addr().Zone(); zone != "" {
		a = netip.AddrPortFrom(a.Addr().WithZone(printable(zone)), a.Port())
	}
	return a
}

// quote returns s as one word of a POSIX shell. It is not ok if s has characters that
// are not printable, since what is printed would be another word, or if a command would
// take it for an option.
func quote(s string) (_ string, ok bool) {
	plain := !strings.HasPrefix(s, "=") // which zsh takes for a program's file
	if strings.HasPrefix(s, "-") {
		return "", false
	}
	for _, r := range s {
		switch {
		case !isPrintable(r):
			return "", false
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("_@%+=:,./-", r):
		default:
			plain = false
		}
	}
	switch {
	case s == "":
		return "''", true
	case plain:
		return s, true
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", true
}
