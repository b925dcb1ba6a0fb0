//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package inuse

// also says in a hint what other found: why the address could not be had even if nobody
// had it.
func (f *finding) also(other *finding) {
	if f.facts["start"] != "" && other.cause == CausePrivileged {
		return // said anyway
	}
	other.complete()
	if clause := heads[other.cause].clause; clause != "" {
		f.hints = append([]string{"besides, " + other.facts.fill(clause)}, f.hints...)
	}
}
