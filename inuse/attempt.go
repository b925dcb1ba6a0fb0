package inuse

import (
	"errors"
	"net"
	"net/netip"
	"os"
)

// An attempt is what failed.
type attempt struct {
	err     error
	refusal refusal
	network string // "tcp", "tcp4", …
	dial    bool
	call    string         // the system call that failed, "" if unknown
	local   netip.AddrPort // of networks tcp and udp; the address is not valid if it was left out
	remote  netip.AddrPort // of a dial
	path    string         // of networks unix
	check   bool           // Check asks, and nothing has failed
	host    string         // the name that stood for local, of Check; or ""
}

// A refusal is why the kernel refused to bind an address.
type refusal uint8

const (
	refusedInUse        refusal = iota + 1 // EADDRINUSE
	refusedNotAvailable                    // EADDRNOTAVAIL
	refusedNotPermitted                    // EACCES, EPERM
	refusedInvalid                         // EINVAL, ENODEV
	refusedPath                            // ENOENT and so on: no file can be made there
)

// attemptOf returns the attempt that err tells of, if it is one to explain.
func attemptOf(err error) (a attempt, ok bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "listen" && op.Op != "dial" {
		return a, false
	}
	refusal := refusalOf(op.Err) // refusal_unix.go, refusal_windows.go, refusal_other.go
	if _, done := errors.AsType[*Error](err); refusal == 0 || done {
		return a, false
	}
	a = attempt{err: err, refusal: refusal, network: op.Net, dial: op.Op == "dial"}
	if call, ok := errors.AsType[*os.SyscallError](op.Err); ok {
		a.call = call.Syscall
	}
	local := op.Addr
	if a.dial {
		local = op.Source
		a.remote, _ = addrPortOf(op.Addr)
	}
	if path, ok := local.(*net.UnixAddr); ok && path != nil {
		a.path = path.Name
		return a, a.path != "" && a.call != "connect" // which has a path of its own
	}
	if refusal == refusedPath {
		return a, false
	}
	a.local, ok = addrPortOf(local)
	return a, ok || a.dial && a.remote.IsValid()
}

// addrPortOf returns the address of a TCP or UDP socket. Its Addr is not valid
// if it was left out, as in ":9999".
func addrPortOf(addr net.Addr) (_ netip.AddrPort, ok bool) {
	var ip net.IP
	var port int
	var zone string
	switch addr := addr.(type) {
	case *net.TCPAddr:
		if addr == nil {
			return netip.AddrPort{}, false
		}
		ip, port, zone = addr.IP, addr.Port, addr.Zone
	case *net.UDPAddr:
		if addr == nil {
			return netip.AddrPort{}, false
		}
		ip, port, zone = addr.IP, addr.Port, addr.Zone
	default:
		return netip.AddrPort{}, false
	}
	parsed, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(parsed.Unmap().WithZone(zone), uint16(port)), true
}

// because returns what was found, without holders.
func (a attempt) because(cause Cause, known facts) *finding {
	return &finding{attempt: a, cause: cause, facts: known}
}
