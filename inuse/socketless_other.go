//go:build unix && !linux

package inuse

func socketless(string) bool { return false }
