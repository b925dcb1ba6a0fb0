package group

import (
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sign makes a client's socket sign what it sends to target.
func sign(fd int, target netip.AddrPort) error {
	return unsupported("setsockopt TCP_MD5SIG",
		unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, signature(target)))
}

// signature returns a key for what is sent to target. It is no secret: that the
// listener has none is what matters, or another one.
func signature(target netip.AddrPort) *unix.TCPMD5Sig {
	sig := &unix.TCPMD5Sig{Keylen: 16}
	for i := range sig.Keylen {
		sig.Key[i] = byte(rand.IntN(256))
	}
	// Data begins behind the family, and has the port first.
	if target.Addr().Is4() {
		sig.Addr.Family = unix.AF_INET
		a := target.Addr().As4()
		copy(sig.Addr.Data[2:], a[:])
	} else {
		sig.Addr.Family = unix.AF_INET6
		a := target.Addr().As16()
		copy(sig.Addr.Data[6:], a[:])
	}
	return sig
}
