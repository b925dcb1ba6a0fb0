package procfs

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// SocketUID returns the user whom the kernel takes for the owner of a socket that
// the calling thread opens: its file system uid.
func (fs FS) SocketUID() (uint32, error) {
	text, err := fs.read("thread-self/status")
	if err != nil {
		return 0, err
	}
	return parseSocketUID(text)
}

// parseSocketUID reads the line "Uid: real effective saved file-system".
func parseSocketUID(status string) (uint32, error) {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			if fields := strings.Fields(ids); len(fields) == 4 {
				uid, err := strconv.ParseUint(fields[3], 10, 32)
				return uint32(uid), err
			}
		}
	}
	return 0, errors.New("no line Uid: of four numbers in status")
}

// Sandboxed reports whether a filter of system calls holds for the calling thread,
// which may answer one that is not in its list with a kill; or whether that is not known.
func (fs FS) Sandboxed() bool {
	text, err := fs.read("thread-self/status")
	return err != nil || parseSandboxed(text)
}

// parseSandboxed reads the line "Seccomp: mode". A kernel without seccomp has none.
func parseSandboxed(status string) bool {
	for line := range strings.Lines(status) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(mode) != "0"
		}
	}
	return false
}

// Capable reports whether the calling thread has all of the capabilities in effect.
func (fs FS) Capable(capabilities ...int) bool {
	text, err := fs.read("thread-self/status")
	if err != nil {
		return false
	}
	var set uint64
	for line := range strings.Lines(text) {
		if bits, ok := strings.CutPrefix(line, "CapEff:"); ok {
			set, _ = strconv.ParseUint(strings.TrimSpace(bits), 16, 64)
		}
	}
	for _, c := range capabilities {
		if set&(1<<c) == 0 {
			return false
		}
	}
	return true
}

// AddressFlags returns the flags of an IPv6 address of the calling thread's network
// namespace: IFA_F_TENTATIVE and so on. It is false if no interface has the address.
func (fs FS) AddressFlags(addr netip.Addr) (flags uint64, ok bool) {
	text, err := fs.read("thread-self/net/if_inet6")
	if err != nil {
		return 0, false
	}
	return flagsIn(text, addr)
}

// flagsIn returns the flags of addr in the text of /proc/net/if_inet6: "address
// index prefix scope flags name".
func flagsIn(text string, addr netip.Addr) (flags uint64, ok bool) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		bytes, err := hex.DecodeString(fields[0])
		has, valid := netip.AddrFromSlice(bytes)
		if err == nil && valid && has == addr.WithZone("") {
			flags, err := strconv.ParseUint(fields[4], 16, 64)
			return flags, err == nil
		}
	}
	return 0, false
}
