//go:build !linux

package reuse

import "net"

// lateOptions is false: a socket of the BSDs that gets SO_REUSEPORT_LB after bind
// joins no group (FreeBSD: in_pcbinslbgrouphash is called by bind).
func lateOptions() bool { return false }

// listenSealed leaves a port that is in use to package net. On the BSDs a socket
// with SO_REUSEADDR is bound to 127.0.0.1 also where a live one without any option
// has all addresses, and gets its datagrams.
func (m Mode) listenSealed(_ string, cause error) (net.PacketConn, error) {
	return nil, cause
}
