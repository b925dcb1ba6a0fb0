package inuse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"example.com/reuse/internal/sockfile"
)

// Check reports why an address cannot be bound right now, by a socket without
// options: what Explain would say of the error that the kernel gives. Network and
// address are those of net.Listen and net.ListenPacket; a name for a host stands
// for the address that net.Listen takes. The Cause is [CauseFree], and the Advice
// empty, if the address can be bound.
//
// Check takes connections and datagrams from nobody. It binds a TCP port on trial,
// so for that moment a server that does not set SO_REUSEADDR is refused a free one.
// When ctx ends Check reports what it has found so far, but never that an address
// is free that it has not seen to be.
//
// Errors:
//
//   - package net's, if network or address are wrong or the host is unknown
//   - errors.ErrUnsupported where the system does not tell: Linux tells of all
//     networks, macOS and the BSDs of unix sockets' paths, others of none
func Check(ctx context.Context, network, address string) (*Error, error) {
	a := attempt{network: network, refusal: refusedInUse}
	var addr net.Addr
	switch network {
	case "tcp", "tcp4", "tcp6":
		tcp, err := net.ResolveTCPAddr(network, address)
		if err != nil {
			return nil, err
		}
		addr = tcp
	case "udp", "udp4", "udp6":
		udp, err := net.ResolveUDPAddr(network, address)
		if err != nil {
			return nil, err
		}
		addr = udp
	case "unix", "unixgram", "unixpacket":
		path, err := net.ResolveUnixAddr(network, address)
		if err != nil {
			return nil, err
		}
		addr, a.path = path, address
	default:
		return nil, net.UnknownNetworkError(network)
	}
	a.local, _ = addrPortOf(addr)
	a.err = &net.OpError{Op: "listen", Net: network, Addr: addr, Err: errInUse}
	var e *Error
	var err error
	if a.path != "" {
		e, err = a.checkPath(ctx)
	} else {
		e, err = a.checkPort(ctx) // look_linux.go, inuse_other.go
	}
	if err != nil {
		return nil, fmt.Errorf("cannot tell on %s: %w", runtime.GOOS, err)
	}
	if e.Cause == CauseFree {
		e.Advice = ""
	}
	return e.printable(), nil
}

// checkPath is Check for unix sockets.
func (a attempt) checkPath(ctx context.Context) (*Error, error) {
	if !sockfile.Supported {
		return nil, errors.ErrUnsupported
	}
	e := a.explainPath(ctx)
	if e == nil {
		_, err := os.Lstat(a.path)
		return a.unexplained(err), nil
	}
	if e.Cause == CauseFree && sockfile.IsFile(a.path) {
		// Nothing is there, and nothing may come there.
		if err := writable(filepath.Dir(a.path)); err != nil {
			return a.unexplained(err), nil
		}
	}
	return e, nil
}

// unexplained returns the explanation of an address of which no more is known than
// err.
func (a attempt) unexplained(err error) *Error {
	e := a.because(CauseUnknown, "")
	if err != nil {
		e.Err, e.reason = err, err.Error()
	}
	// Without the address, which is said anyway.
	if op, ok := errors.AsType[*net.OpError](err); ok {
		e.reason = op.Err.Error()
	}
	return e
}
