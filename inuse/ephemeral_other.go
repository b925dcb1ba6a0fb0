//go:build aix || linux || solaris

package inuse

// ephemeralPort reports whether a system gives the port to clients. Linux is not asked
// here: its look knows better.
func ephemeralPort(port uint16) bool { return ianaEphemeral(port) }
